// What every part of the page draws with: Preact's hooks and htm, under one roof.
import { h, render, Fragment } from "../vendor/preact.js";
import htm from "../vendor/htm.js";

export { useCallback, useEffect, useMemo, useRef, useState } from "../vendor/hooks.js";
export { render, Fragment };
export const html = htm.bind(h);
