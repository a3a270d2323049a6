/**
 * One order from the confirmation on. Its key and total are kept in sessionStorage before anything is sent and
 * until it is known how it ended: whatever happens to the page, it asks again with the same key.
 */
import { newKey, request } from './api.js';
import { Offline, Problem } from './faults.js';
import { readCart } from './shopper.js';
import { UNFINISHED, draw, state } from './store.js';

/**
 * The order that is being made, null for none. `stage` is 'ready', 'sending', 'waiting' (`seconds`), 'unknown',
 * 'busy' (`error`), 'offline', 'changed' (`before`, `total`) or 'refused' (`error`).
 */
export let order = null;

/** Begin an order of the cart as it is shown. */
export function begin() {
  order = { key: newKey(), total: state.cart.total_points, version: state.cart.cart_version, stage: 'ready' };
}

/** Take up an order of this user's that was under way when the page was loaded; false where there is none. */
export function takeUp() {
  const kept = JSON.parse(sessionStorage.getItem(UNFINISHED) ?? 'null');
  if (kept?.username !== state.user.username) return false;
  order = { key: kept.key, total: kept.total, version: kept.version, stage: 'unknown' };
  return true;
}

/** Whether its outcome is open, so that nobody should walk away from it. */
export const isOpen = () => ['sending', 'waiting'].includes(order?.stage);

/** Let it go. */
export function drop() {
  sessionStorage.removeItem(UNFINISHED);
  order = null;
}

/** Send it, and give the placed order's id; null where it was not placed, for `order.stage` to say why. */
export async function send() {
  if (isOpen()) return null;
  const mine = order;
  const become = (stage, more) => {
    Object.assign(mine, { stage, ...more });
    draw();
  };
  become('sending');
  sessionStorage.setItem(UNFINISHED, JSON.stringify({
    username: state.user.username, key: mine.key, total: mine.total, version: mine.version,
  }));
  try {
    const { body, headers } = await request('POST', '/orders', {
      key: mine.key,
      body: { expected_total_points: mine.total, cart_version: mine.version },
      waiting: (seconds) => become(seconds ? 'waiting' : 'sending', { seconds }),
    });
    state.placed = {
      id: body.order_id,
      replayed: headers.get('Idempotency-Replayed') === 'true',
      attempts: Number(headers.get('Rewards-Attempts')),
      trips: Number(headers.get('Rewards-Round-Trips')),
      ms: Number(headers.get('Server-Timing')?.split('dur=')[1]),
    };
    state.balance = body.balance_after;
    drop();
    readCart().catch(() => {});
    return body.order_id;
  } catch (error) {
    if (error instanceof Offline) become('offline');
    else if (!(error instanceof Problem)) become('unknown');
    else if (error.passes) become('busy', { error });
    else await refused(error, become);
    return null;
  }
}

async function refused(error, become) {
  // It is settled that nothing was ordered: the next try is another order, with another key.
  sessionStorage.removeItem(UNFINISHED);
  const before = order.total;
  order.key = newKey();
  await readCart().catch(() => {});
  const changed = ['price-changed', 'cart-changed'].includes(error.kind);
  if (changed && state.cart.lines.length) {
    become('changed', { before, total: state.cart.total_points, version: state.cart.cart_version });
  } else {
    become('refused', { error });
  }
}
