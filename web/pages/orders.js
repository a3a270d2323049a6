/** Past orders, newest first. */
import { get } from '../api.js';
import { number } from '../format.js';
import { points } from '../shopper.js';
import { draw } from '../store.js';
import { short, time } from '../times.js';
import { button, empty, fault, html, nothing, skeleton, toShop } from '../ui.js';
import { words } from '../words/frame.js';
import { words as own } from '../words/pages.js';

const w = own.orders;
const list = { orders: null, cursor: null, error: null, busy: false };

export const title = () => w.title;

export async function enter() {
  Object.assign(list, { cursor: null, error: null });
  await read([]);
}

async function read(before) {
  list.busy = true;
  try {
    const page = await get('/orders', { limit: 20, cursor: list.cursor });
    list.orders = [...before, ...page.orders];
    list.cursor = page.next_cursor;
    list.error = null;
  } catch (error) {
    list.error = error;
  }
  list.busy = false;
  draw();
}

/** An order's state, said and coloured. */
export const status = (order) => html`<span class="tag ${order.status}">${w.status[order.status] ?? order.status}</span>`;

const row = (order) => html`<li><a class="order-row" href="#/orders/${order.order_id}">
  <span><span class="strong">${w.one(short(order.order_id))}</span><span class="meta">${time(order.placed_at)} · ${w.units(order.unit_count)}</span></span>
  ${status(order)}${points(order.total_points)}
  ${order.refunded_points ? html`<span class="meta back-line">${w.refunded(number(order.refunded_points))}</span>` : nothing}
</a></li>`;

export const view = () => html`<h1 tabindex="-1">${w.title}</h1>
  ${list.error ? fault(list.error, enter) : nothing}
  ${list.orders === null && !list.error ? skeleton(4, 'lines') : nothing}
  ${list.orders?.length === 0 ? empty({ sign: 'orders', title: w.empty, text: w.emptyText, action: toShop }) : nothing}
  ${list.orders?.length ? html`<ul class="order-list">${list.orders.map(row)}</ul>` : nothing}
  ${list.cursor ? html`<p class="centre">${button({ label: words.more, kind: 'secondary', busy: list.busy, off: list.busy, act: () => read(list.orders) })}</p>` : nothing}`;
