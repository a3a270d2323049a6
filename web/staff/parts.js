/** What the staff's pages have in common: their menu, a command to copy, a write that keeps its key, a poll. */
import { NoAnswer, Problem, newKey, request } from '../api.js';
import { announce, draw } from '../store.js';
import { html, nothing } from '../ui.js';
import { words } from './words.js';

const MENU = { operations: '#/staff/operations', orders: '#/staff/orders', items: '#/staff/items', customers: '#/staff/customers' };

export const menu = (here) => html`<nav class="staff-menu" aria-label=${words.menu.label}><ul>${Object.entries(MENU).map(([name, href]) => html`
  <li><a href=${href} aria-current=${name === here ? 'page' : nothing}>${words.menu[name]}</a></li>`)}</ul></nav>`;

/** A command as text, and a button that copies it. */
export const command = (text) => html`<span class="command"><code>${text}</code>
  <button type="button" class="button plain small" aria-label=${words.copyLabel(text)} @click=${async () => {
    await navigator.clipboard.writeText(text);
    announce(words.copied);
  }}>${words.copy}</button></span>`;

export const isId = (text) => /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text);

/**
 * Writes that may be sent again: one kind of write of a page keeps its Idempotency-Key, and what it was for, until an
 * answer says what became of it. Something else that is sent has a new key.
 */
export class Write {
  key = null;
  sent = null;
  busy = false;
  wrong = null;
  waiting = 0;

  /** Send it; give the answer's body, or null where it was refused or nobody answered: `wrong` says which. */
  async send(method, path, body) {
    if (this.busy) return null;
    const content = JSON.stringify([method, path, body]);
    if (this.sent !== content) [this.sent, this.key] = [content, newKey()];
    Object.assign(this, { busy: true, wrong: null });
    draw();
    try {
      const answer = await request(method, path, { body, key: this.key, waiting: (left) => { this.waiting = left; draw(); } });
      this.sent = null;
      return answer;
    } catch (error) {
      this.wrong = error instanceof NoAnswer ? [words.unknown, ''] : error;
      if (error instanceof Problem && !error.passes) this.sent = null;
      return null;
    } finally {
      Object.assign(this, { busy: false, waiting: 0 });
      draw();
    }
  }
}

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
