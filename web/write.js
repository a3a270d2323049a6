/** Writes under an Idempotency-Key, which may be sent again. An order has more to say, and checkout.js to say it. */
import { newKey, request } from './api.js';
import { NoAnswer, Problem } from './faults.js';
import { number } from './format.js';
import { draw } from './store.js';
import { fault, html, nothing } from './ui.js';
import { words } from './words/shop.js';

/**
 * One kind of write of a page. It keeps its Idempotency-Key, and what it was for, until an answer says what became of
 * it, whatever dialog is closed meanwhile. Something else that is sent has a new key.
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
      this.wrong = error instanceof NoAnswer ? words.unknown : error;
      if (error instanceof Problem && !error.passes) this.sent = null;
      return null;
    } finally {
      Object.assign(this, { busy: false, waiting: 0 });
      draw();
    }
  }
}

/** What a write has to say: that it waits, or what went wrong. */
export const telling = (write) => html`${write.waiting ? html`<p class="hint" role="status">${words.waiting(number(write.waiting))}</p>` : nothing}${write.wrong ? fault(write.wrong) : nothing}`;
