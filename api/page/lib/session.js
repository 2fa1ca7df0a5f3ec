// What this tab remembers: its key, and what was typed and not sent yet. Closing the tab forgets both.
const KEY = "albatross.key";

export const key = {
  read: () => sessionStorage.getItem(KEY),
  write: (value) => sessionStorage.setItem(KEY, value),
  forget: () => sessionStorage.removeItem(KEY),
};

/** Forget the key and all drafts: who signs in here next may be somebody else. */
export function forgetAll() {
  for (const name of Object.keys(sessionStorage)) if (name.startsWith("albatross.")) sessionStorage.removeItem(name);
}

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

const START = /^#start=([\w-]+)$/;

export const isStart = (hash) => START.test(hash);

/** The one-time token of a start link, taken out of the address before anything else happens. */
export function takeStartToken() {
  const token = START.exec(location.hash)?.[1] || null;
  if (token) history.replaceState(null, "", location.pathname + location.search);
  return token;
}
