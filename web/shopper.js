/** What several pages do with the shopper's cart and points. */
import { get, request } from './api.js';
import { draw, state } from './store.js';

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
export const inCart = (itemId) => state.cart?.lines.find((line) => line.item_id === itemId)?.quantity ?? 0;

/** Have the cart hold `quantity` units of an item, none where it is 0. */
export async function setQuantity(itemId, quantity) {
  if (quantity) await request('PUT', `/cart/items/${itemId}`, { body: { quantity } });
  else await request('DELETE', `/cart/items/${itemId}`);
  await readCart();
}
