// What this tab remembers: its key, and what was typed and not sent yet. Closing the tab forgets both.
const KEY = "albatross.key";

export const key = {
  read: () => sessionStorage.getItem(KEY),
  write: (value) => sessionStorage.setItem(KEY, value),
  forget: () => sessionStorage.removeItem(KEY),
};

/** One value that outlives a reload, under `name`. */
export function draft(name) {
  const place = `albatross.${name}`;
  return {
    read() {
      try {
        return JSON.parse(sessionStorage.getItem(place));
      } catch {
        return null;
      }
    },
    write: (value) => sessionStorage.setItem(place, JSON.stringify(value)),
    forget: () => sessionStorage.removeItem(place),
  };
}

/** The one-time token of a start link, taken out of the address before anything else happens. */
export function takeStartToken() {
  const token = /^#start=([\w-]+)$/.exec(location.hash)?.[1] || null;
  if (token) history.replaceState(null, "", location.pathname + location.search);
  return token;
}
