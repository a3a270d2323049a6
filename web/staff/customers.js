/** A customer, found by username: their orders and stories, points credited, a household boosted. */
import { get } from '../api.js';
import { number } from '../format.js';
import { points } from '../shopper.js';
import { announce, draw } from '../store.js';
import { short, time } from '../times.js';
import { button, fault, html, nothing, skeleton } from '../ui.js';
import { words as common } from '../words/frame.js';
import { words as shop } from '../words/pages.js';
import { Write, telling } from '../write.js';
import { menu } from './parts.js';
import { words } from './words.js';

const w = words.customers;
let page = {};
let known = null; // the customer who was found last: only their name finds a balance

export const title = () => (page.id ? w.one(page.name ?? short(page.id)) : w.title);

export async function enter([id]) {
  page = { id: id ?? null, found: null, error: null, orders: null, cursor: null, ordersError: null, lines: {}, credit: new Write(), boost: new Write() };
  if (!id) return;
  page.name = known?.customer_id === id ? known.username : null;
  await readOrders();
}

async function find(event) {
  event.preventDefault();
  const mine = page;
  const username = event.target.elements.username.value.trim();
  if (!username) return;
  try {
    Object.assign(mine, { found: (await get('/staff/customers', { username })).customers, error: null });
  } catch (error) {
    mine.error = error;
  }
  draw();
}

async function readOrders(before = []) {
  const mine = page;
  try {
    const found = await get(`/staff/customers/${mine.id}/orders`, { limit: 20, cursor: before.length ? mine.cursor : null });
    Object.assign(mine, { orders: [...before, ...found.orders], cursor: found.next_cursor, ordersError: null });
  } catch (error) {
    mine.ordersError = error;
  }
  draw();
}

async function readLines(orderId) {
  const mine = page;
  try {
    mine.lines[orderId] = await get(`/staff/customers/${mine.id}/orders/${orderId}`);
  } catch (error) {
    mine.lines[orderId] = { error };
  }
  draw();
}

async function credit(event) {
  event.preventDefault();
  const form = event.target;
  const { amount, kind, description } = Object.fromEntries(new FormData(form));
  const done = await page.credit.send('POST', `/staff/customers/${page.id}/credits`, { points: Number(amount), kind, ...(description.trim() ? { description: description.trim() } : {}) });
  if (!done) return;
  form.reset();
  announce(w.credited(number(done.body.points), number(done.body.balance_after)));
}

async function boost(event) {
  event.preventDefault();
  const form = event.target;
  const { partner, amount, below } = Object.fromEntries(new FormData(form));
  const done = await page.boost.send('POST', '/staff/boosts', { beneficiary: page.id, partner: partner.trim(), points: Number(amount), below_points: Number(below) });
  if (!done) return;
  form.reset();
  announce(w.credited(number(done.body.points), number(done.body.balance_after)));
}

const submit = (label, write) => html`<button class="button primary" ?disabled=${write.busy}>${write.busy ? html`<span class="spinner"></span>` : nothing}${label}</button>`;

const orderRow = (order) => {
  const told = page.lines[order.order_id];
  return html`<li class="panel"><div class="card-head"><span><span class="strong">${short(order.order_id)}</span> <span class="meta">${time(order.placed_at)}</span></span>
    <span class="tag ${order.status}">${shop.orders.status[order.status]}</span>${points(order.total_points)}</div>
    <p class="row">${button({ label: w.show, name: w.showOf(short(order.order_id)), kind: 'secondary small', act: () => readLines(order.order_id) })}
    <a class="button plain small" href="#/staff/orders/${order.order_id}" aria-label=${w.storyOf(short(order.order_id))}>${w.story}</a></p>
    ${told?.error ? fault(told.error, () => readLines(order.order_id)) : nothing}
    ${told?.lines ? html`<ul class="lines-of">${told.lines.map((line) => html`<li>${w.line(number(line.quantity), line.name)}${line.refunded ? html` <span class="tag few">${w.refundedUnits(number(line.refunded))}</span>` : nothing}</li>`)}</ul>` : nothing}</li>`;
};

const orders = () => html`<section aria-labelledby="orders"><h2 id="orders">${w.orders}</h2>
  ${page.ordersError ? fault(page.ordersError, () => readOrders(page.orders ?? [])) : nothing}
  ${page.orders ? html`<ul class="order-list">${page.orders.map(orderRow)}</ul>${page.orders.length ? nothing : html`<p class="hint">${w.noOrders}</p>`}` : page.ordersError ? nothing : skeleton(3, 'lines')}
  ${page.cursor ? html`<p class="centre">${button({ label: common.more, kind: 'secondary', act: () => readOrders(page.orders) })}</p>` : nothing}
  <p class="hint">${w.refunds}</p></section>`;

const money = () => html`<div class="sides">
  <section class="panel" aria-labelledby="credit"><h2 id="credit">${w.credit}</h2><form class="form two" @submit=${credit}>
    <label>${w.points}<input name="amount" type="number" min="1" step="1" required /></label>
    <label>${w.kind}<select name="kind">${Object.entries(w.kinds).map(([kind, name]) => html`<option value=${kind}>${name}</option>`)}</select></label>
    <label>${w.description}<input name="description" maxlength="50" autocomplete="off" /></label>
    <div class="span">${telling(page.credit)}${submit(w.creditGo, page.credit)}</div></form></section>
  <section class="panel" aria-labelledby="boost"><h2 id="boost">${w.boost}</h2><p class="hint">${w.boostText}</p><form class="form two" @submit=${boost}>
    <label>${w.partner}<input name="partner" required maxlength="36" autocomplete="off" spellcheck="false" /></label>
    <label>${w.points}<input name="amount" type="number" min="1" step="1" value="429" required /></label>
    <label>${w.below}<input name="below" type="number" min="1" step="1" value="1000" required /></label>
    <div class="span">${telling(page.boost)}${submit(w.boostGo, page.boost)}</div></form></section></div>`;

const search = () => html`<form class="find" role="search" @submit=${find}><label>${w.find}<input name="username" maxlength="50" autocomplete="off" spellcheck="false" /></label>
  <button class="button secondary">${w.go}</button></form>
  ${page.error ? fault(page.error) : nothing}
  ${page.found ? html`<div role="status"><ul class="order-list">${page.found.map((one) => html`<li><a class="order-row" href="#/staff/customers/${one.customer_id}" @click=${() => { known = one; }}>
    <span><span class="strong">${one.username}</span><span class="meta">${one.customer_id}</span></span><span class="tag">${w.status[one.status]}</span>
    ${one.balance === null ? nothing : points(one.balance)}</a></li>`)}${page.found.length ? nothing : html`<li class="hint">${w.none}</li>`}</ul></div>` : nothing}`;

export const view = () => html`${menu('customers')}<h1 tabindex="-1">${title()}</h1>
  ${page.id ? html`<p class="hint">${w.number} <code>${page.id}</code></p>${money()}${orders()}` : search()}`;
