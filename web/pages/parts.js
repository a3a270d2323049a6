/** What the pages that come later have in common. */
import { number } from '../format.js';
import { PATHS, html, icon } from '../ui.js';
import { words } from '../words/pages.js';

Object.assign(PATHS, {
  minus: 'M5 12h14',
  bin: 'M4 7h16M9 7V4h6v3M6.5 7l1 13h9l1-13M10 11v5M14 11v5',
  back: 'M10 6l-6 6 6 6M4 12h16',
});

/** A quantity with less and more; `set(quantity)` is called with 1 to `most`. */
export const stepper = ({ name, quantity, most, set, off = false }) => html`<span class="stepper" role="group" aria-label=${words.cart.quantity(name)}>
  <button type="button" aria-label=${words.cart.less(name)} ?disabled=${off || quantity <= 1} @click=${() => set(quantity - 1)}>${icon('minus')}</button>
  <output aria-live="off">${number(quantity)}</output>
  <button type="button" aria-label=${words.cart.more(name)} ?disabled=${off || quantity >= most} @click=${() => set(quantity + 1)}>${icon('plus')}</button>
</span>`;
