/** What several pages do with the shopper's cart and points. */
import { get, request } from './api.js';
import { number } from './format.js';
import { draw, state } from './store.js';
import { html } from './ui.js';
import { words } from './words/frame.js';

/** The most units that a cart's line can have. */
export const MOST_OF_A_LINE = 99;

/** Read the cart, and the balance with it. */
export async function readCart() {
  state.cart = await get('/cart');
  state.balance = state.cart.balance ?? state.balance;
  draw();
}

/** Read the balance into `state.balance`. */
export async function readBalance() {
  state.balance = (await get('/points')).balance;
  draw();
}

/** How many units of an item the cart holds. */
const inCart = (itemId) => state.cart?.lines.find((line) => line.item_id === itemId)?.quantity ?? 0;

const put = (itemId, quantity) => (quantity ? request('PUT', `/cart/items/${itemId}`, { body: { quantity } }) : request('DELETE', `/cart/items/${itemId}`));

/** Have the cart hold `quantity` units of an item, none where it is 0, and read it. */
export async function setQuantity(itemId, quantity) {
  await put(itemId, quantity);
  await readCart();
}

/** Put units more into the cart. The answer says what it comes to; its lines are read when the cart is shown. */
export async function addUnits(itemId, units) {
  const quantity = Math.min(inCart(itemId) + units, MOST_OF_A_LINE);
  const { body } = await put(itemId, quantity);
  const others = (state.cart?.lines ?? []).filter((line) => line.item_id !== itemId);
  state.cart = { ...state.cart, ...body, lines: [...others, { item_id: itemId, quantity }], isCounted: true };
}

const coin = html`<svg class="coin" viewBox="0 0 20 20" aria-hidden="true"><circle cx="10" cy="10" r="9" /><path d="M10 4.8l1.5 3.2 3.5.4-2.6 2.4.7 3.5-3.1-1.8-3.1 1.8.7-3.5L5 8.4l3.5-.4z" /></svg>`;

/** An amount of points with their sign. */
export const points = (amount) => html`<span class="points">${coin}<span class="amount">${number(amount)}</span><span class="unit"> ${words.points}</span></span>`;
