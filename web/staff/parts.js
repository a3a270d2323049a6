/** What the staff's pages have in common: their menu, a command to copy, a poll. */
import { copy, html, nothing } from '../ui.js';
import { words } from './words.js';

const MENU = { operations: '#/staff/operations', orders: '#/staff/orders', items: '#/staff/items', customers: '#/staff/customers' };

export const menu = (here) => html`<nav class="staff-menu" aria-label=${words.menu.label}><ul>${Object.entries(MENU).map(([name, href]) => html`
  <li><a href=${href} aria-current=${name === here ? 'page' : nothing}>${words.menu[name]}</a></li>`)}</ul></nav>`;

/** A command as text, and a button that copies it. */
export const command = (text) => html`<span class="command"><code>${text}</code>
  <button type="button" class="button plain small" aria-label=${words.copyLabel(text)} @click=${() => copy(text)}>${words.copy}</button></span>`;

export const isId = (text) => /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text);

const EVERY_MS = 2000;
const LONGEST_MS = 30_000;

/**
 * Ask again and again, every two seconds, more rarely while nobody answers, and not while nobody looks. `ask` promises
 * whether an answer came. Gives {stop}.
 */
export function poll(ask) {
  let timer;
  let pause = EVERY_MS;
  let stopped = false;
  let asking = false;
  const go = async () => {
    clearTimeout(timer);
    if (stopped || asking || document.hidden) return;
    asking = true;
    const answered = await ask();
    asking = false;
    pause = answered ? EVERY_MS : Math.min(pause * 2, LONGEST_MS);
    if (!stopped && !document.hidden) timer = setTimeout(go, pause);
  };
  document.addEventListener('visibilitychange', go);
  go();
  return {
    stop() {
      stopped = true;
      clearTimeout(timer);
      document.removeEventListener('visibilitychange', go);
    },
  };
}
