/** One order: followed to its confirmation when it is new, cancelled or given back by line when it is not wanted. */
import { get } from '../api.js';
import { Problem } from '../faults.js';
import { openDialog } from '../dialogs.js';
import { number } from '../format.js';
import { points } from '../shopper.js';
import { announce, draw, state } from '../store.js';
import { short, signed, time } from '../times.js';
import { button, empty, fault, html, icon, nothing, picture, skeleton, toShop } from '../ui.js';
import { Write, telling } from '../write.js';
import { words } from '../words/frame.js';
import { words as own } from '../words/pages.js';
import { status } from './orders.js';
import { stepper } from './parts.js';

const w = own.order;
const POLLS_S = [1, 1, 2, 2, 4, 8, 12]; // half a minute in all; then it says so
let shown = {};
let timer;

export const title = () => (shown.order ? own.orders.one(short(shown.order.order_id)) : own.orders.title);

export async function enter([orderId]) {
  shown = { orderId, order: null, error: null, polls: 0 };
  await read();
}

export function leave() {
  clearTimeout(timer);
}

async function read() {
  const mine = shown;
  clearTimeout(timer);
  try {
    mine.order = await get(`/orders/${mine.orderId}`);
    mine.error = null;
  } catch (error) {
    mine.error = error;
  }
  if (mine !== shown) return;
  draw();
  if (mine.order && !mine.error && !isSettled(mine.order) && mine.polls < POLLS_S.length && !document.hidden) {
    timer = setTimeout(read, POLLS_S[mine.polls] * 1000);
    mine.polls += 1;
  }
}

/** Nobody looks: nothing is asked. Whoever comes back reads at once. */
document.addEventListener('visibilitychange', () => {
  if (document.hidden) clearTimeout(timer);
  else if (shown.order && !isSettled(shown.order)) read();
});

const isSettled = (order) => order.cart_cleaned_at !== null && order.confirmation !== 'PENDING';

// --- What followed ---

const step = (done, name, text, at) => html`<li class=${done ? 'done' : 'waiting'}>
  <span class="mark">${done ? icon('check') : html`<span class="spinner"></span>`}</span>
  <span><span class="strong">${name}</span> ${at ? html`<span class="meta">${time(at)}</span>` : nothing}
  <span class="meta block">${done ? text : w.under}</span></span></li>`;

function progress(order) {
  const mailed = order.confirmation === 'SKIPPED' ? w.skipped : w.mailedText;
  return html`<ol class="steps" aria-label=${w.history}>
    ${step(true, w.placed, w.placedText(number(order.total_points)), order.placed_at)}
    ${step(order.cart_cleaned_at !== null, w.cleaned, w.cleanedText, order.cart_cleaned_at)}
    ${step(order.confirmation !== 'PENDING', w.mailed, mailed, order.confirmed_at)}
  </ol>
  ${!isSettled(order) && shown.polls >= POLLS_S.length ? html`<p class="hint">${w.slow}</p>` : nothing}`;
}

const inside = ({ ms, attempts, trips, replayed }) => html`<details class="panel"><summary>${w.inside}</summary>
  <p>${replayed ? w.replayed : w.insideText(number(ms), attempts, trips)}</p></details>`;

// --- Cancelling and giving back ---

const writing = new Write(); // of all that is cancelled and given back here

function act({ title: heading, text, go, path, body, said }) {
  writing.wrong = null;
  const send = async (close) => {
    const done = await writing.send('POST', path, body?.());
    if (!done) return;
    state.balance = done.body.balance_after;
    announce(said(done.body));
    close();
  };
  openDialog((close) => html`<div class="sheet"><h2>${heading}</h2>${text()}
    ${telling(writing)}
    ${button({ label: go, wide: true, busy: writing.busy, off: writing.busy, act: () => send(close) })}
    ${button({ label: w.keep, kind: 'plain', wide: true, off: writing.busy, act: () => close() })}</div>`,
  { label: heading, dismissible: () => !writing.busy }).then(read); // whatever became of it
}

const cancel = (order) => act({
  title: w.cancelTitle,
  text: () => html`<p>${w.cancelText(number(order.total_points))}</p>`,
  go: w.cancelGo,
  path: `/orders/${order.order_id}/cancel`,
  said: () => w.cancelled,
});

function giveBack(order, line) {
  const most = line.quantity - line.refunded;
  let quantity = most;
  act({
    title: w.giveTitle(line.name),
    text: () => html`${most > 1 ? stepper({ name: line.name, quantity, most, set: (next) => { quantity = next; draw(); } }) : nothing}
      <p>${w.giveText(number(quantity * line.unit_points))}</p>`,
    go: w.give,
    path: `/orders/${order.order_id}/refunds`,
    body: () => ({ lines: [{ item_id: line.item_id, quantity }] }),
    said: (done) => w.givenBack(number(done.points)),
  });
}

const row = (order) => (line) => html`<li class="line">
  <a href="#/item/${line.item_id}" tabindex="-1" aria-hidden="true">${picture(line.picture_url, { name: line.name })}</a>
  <div class="line-text"><h3><a href="#/item/${line.item_id}">${line.name}</a></h3>
    <p class="meta">${number(line.quantity)} × ${points(line.unit_points)}</p>
    ${line.refunded ? html`<p class="meta">${w.backUnits(number(line.refunded))}</p>` : nothing}</div>
  <div class="line-acts">${points(line.quantity * line.unit_points)}
    ${line.refunded < line.quantity ? button({ label: w.give, name: w.giveLabel(line.name), kind: 'plain small', act: () => giveBack(order, line) }) : nothing}</div>
</li>`;

export function view() {
  const { order, error } = shown;
  if (error instanceof Problem && error.status < 500 && error.status !== 429) {
    return empty({ sign: 'orders', title: words.notFound.title, text: words.notFound.text, action: toShop, whole: true });
  }
  if (error && !order) return html`<h1 tabindex="-1">${own.orders.title}</h1>${fault(error, read)}`;
  if (!order) return html`<h1 tabindex="-1">${own.orders.title}</h1>${skeleton(3, 'lines')}`;
  const fresh = state.placed?.id === order.order_id ? state.placed : null;
  return html`<p><a class="back" href="#/orders">${icon('back')}${own.orders.title}</a></p>
  <header class="order-head">
    <h1 tabindex="-1">${fresh ? w.thanks : own.orders.one(short(order.order_id))}</h1>${status(order)}
  </header>
  <div class="cart">
    <div>
      ${order.status === 'PLACED' ? progress(order) : nothing}
      ${fresh ? inside(fresh) : nothing}
      <section><h2>${w.lines}</h2><ul class="lines">${order.lines.map(row(order))}</ul></section>
    </div>
    <section class="summary panel" aria-labelledby="summary">
      <h2 id="summary">${own.cart.summary}</h2>
      <dl>
        <div><dt>${w.total}</dt><dd class="strong">${points(order.total_points)}</dd></div>
        ${order.refunded_points ? html`<div><dt>${w.back}</dt><dd>${points(order.refunded_points)}</dd></div>` : nothing}
        <div class="tall"><dt>${w.number}</dt><dd><code>${order.order_id}</code></dd></div>
        <div><dt>${w.region}</dt><dd>${order.region}</dd></div>
      </dl>
      ${order.status === 'PLACED' ? button({ label: w.cancel, kind: 'secondary', wide: true, act: () => cancel(order) }) : nothing}
      <h3>${w.history}</h3>
      <ol class="history">${order.history.map((event) => html`<li><span>${w.events[event.type] ?? event.type}</span>
        <span class="meta">${time(event.at)}</span><span class="meta">${signed(event.points)}</span></li>`)}</ol>
    </section>
  </div>`;
}
