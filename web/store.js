/** What the page knows, and the one way to show it anew. */
export const state = {
  user: null, // {username, name, groups} once somebody is signed in
  cart: null, // GET /cart as last read; where it `isCounted`, what was added since has no more than its quantity
  balance: null, // points
  offline: !navigator.onLine,
  notice: null, // a text that stands above every page
};

/** Where sessionStorage keeps an order that nobody knows the end of. */
export const UNFINISHED = 'rewards.order';

const painters = [];
let due = false;

/** Say what paints the page, or a part of it. */
export function paintWith(painter) {
  painters.push(painter);
}

/** Paint soon; any number of calls before that are one. */
export function draw() {
  if (due) return;
  due = true;
  queueMicrotask(() => {
    due = false;
    for (const paint of painters) paint();
  });
}

let hiding;

/** Tell everybody, screen readers too, what has just happened; it is shown for some seconds. */
export function announce(text) {
  const live = document.getElementById('live');
  live.textContent = '';
  clearTimeout(hiding);
  // A text that is the same as before is only read out when it was gone for a moment.
  setTimeout(() => {
    live.textContent = text;
  }, 30);
  hiding = setTimeout(() => {
    live.textContent = '';
  }, 6000);
}
