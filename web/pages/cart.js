/** The cart, and the order that it becomes. */
import * as checkout from '../checkout.js';
import { openDialog } from '../dialogs.js';
import { number } from '../format.js';
import { MOST_OF_A_LINE, points, readCart, setQuantity } from '../shopper.js';
import { announce, draw, state } from '../store.js';
import { button, empty, explain, fault, html, icon, nothing, picture, skeleton, toShop } from '../ui.js';
import { repeat } from '../vendor/lit-html/directives/repeat.js';
import { words } from '../words/frame.js';
import { words as own } from '../words/pages.js';
import { stepper } from './parts.js';

const w = own.cart;
const c = own.confirm;
let failed = null;
let changing = null; // id of the line that is being changed
let wrong = null; // what the last change was answered with

export const title = () => w.title;

export async function enter() {
  failed = wrong = null;
  try {
    await readCart();
  } catch (error) {
    failed = error;
  }
  draw();
}

async function change(line, quantity) {
  changing = line.item_id;
  wrong = null;
  draw();
  try {
    await setQuantity(line.item_id, quantity);
    announce(quantity ? w.set(line.name, number(quantity)) : w.removed(line.name));
  } catch (error) {
    wrong = error;
  }
  changing = null;
  draw();
  if (!quantity && !wrong) document.querySelector('main h1')?.focus();
}

/** Why a line cannot be ordered as it is; null where it can. */
function trouble(line) {
  if (line.unit_points === null) return w.retired;
  if (line.available !== null && line.available < line.quantity) return w.few(number(line.available));
  return null;
}

const row = (line) => html`<li class="line ${trouble(line) ? 'troubled' : ''}">
  <a href="#/item/${line.item_id}" tabindex="-1" aria-hidden="true">${picture(line.picture_url, { name: line.name })}</a>
  <div class="line-text">
    <h2><a href="#/item/${line.item_id}">${line.name ?? '?'}</a></h2>
    ${line.unit_points === null ? nothing : html`<p class="meta">${points(line.unit_points)} ${w.each}</p>`}
    ${trouble(line) ? html`<p class="trouble">${icon('alert')}${trouble(line)}</p>` : nothing}
  </div>
  <div class="line-acts">
    ${stepper({ name: line.name, quantity: line.quantity, most: Math.min(line.available ?? MOST_OF_A_LINE, MOST_OF_A_LINE), off: changing !== null, set: (quantity) => change(line, quantity) })}
    ${line.line_points === null ? nothing : points(line.line_points)}
    ${button({ label: w.remove, name: w.removeLabel(line.name), sign: 'bin', kind: 'plain small', off: changing !== null, act: () => change(line, 0) })}
  </div>
</li>`;

/** An order whose outcome nobody knows yet, on every page. */
export const pending = () => (isPending() && !isShown ? html`<div class="panel notice" role="alert">${icon('alert')}
  <p><span class="strong">${c.unknown}.</span> ${c.unknownText}</p>${button({ label: c.ask, kind: 'secondary', act: () => { show(); place(); } })}</div>` : nothing);

export function view() {
  const { cart, balance } = state;
  const unread = !cart || cart.isCounted;
  if (failed && unread) return html`<h1 tabindex="-1">${w.title}</h1>${fault(failed, enter)}`;
  if (unread) return html`<h1 tabindex="-1">${w.title}</h1>${skeleton(3, 'lines')}`;
  if (!cart.lines.length) return html`<h1 tabindex="-1">${w.title}</h1>${empty({ sign: 'cart', title: w.empty, text: w.emptyText, action: toShop })}`;
  const missing = cart.total_points - (balance ?? Infinity);
  const beyond = cart.line_count - cart.lines.length;
  const blocked = missing > 0 || beyond > 0 || cart.lines.some(trouble);
  return html`<h1 tabindex="-1">${w.title}</h1>
  ${wrong ? fault(wrong, enter) : nothing}
  <div class="cart">
    <ul class="lines">${repeat(cart.lines, (line) => line.item_id, row)}</ul>
    <section class="summary panel" aria-labelledby="summary">
      <h2 id="summary">${w.summary}</h2>
      <dl>
        <div><dt>${w.total} <span class="meta">${w.items(cart.unit_count)}</span></dt><dd class="strong">${points(cart.total_points)}</dd></div>
        ${balance === null ? nothing : html`<div><dt>${w.balance}</dt><dd>${points(balance)}</dd></div>
        ${missing > 0 ? nothing : html`<div class="after"><dt>${w.after}</dt><dd>${points(-missing)}</dd></div>`}`}
      </dl>
      ${missing > 0 ? html`<p class="trouble">${icon('alert')}${w.missing(number(missing))}</p>` : nothing}
      ${beyond > 0 ? html`<p class="trouble">${icon('alert')}${w.beyond(number(beyond))}</p>` : nothing}
      ${button({ label: w.order, wide: true, off: blocked || changing !== null, act: confirm })}
    </section>
  </div>`;
}

// --- Confirming ---

/** Whether an order's outcome is still open: it is asked about again, under its key, before there is another. */
const isPending = () => ['unknown', 'busy'].includes(checkout.order?.stage);

function confirm() {
  if (!isPending()) checkout.begin();
  show();
}

/** Finish an order that was under way when the page was loaded; nothing where there is none. */
export function takeUp() {
  if (!checkout.takeUp()) return;
  announce(c.resumed);
  show();
  place();
}

let closeDialog = () => {};
let isShown = false;

function show() {
  isShown = true;
  openDialog((close) => {
    closeDialog = close;
    return dialog(close);
  }, { label: c.title, dismissible: () => !checkout.isOpen() }).then((placed) => {
    closeDialog = () => {};
    isShown = false;
    if (placed) location.hash = `#/orders/${placed}`;
    // One that may have been placed stays, to be asked about again; the others are let go.
    else if (!isPending()) checkout.drop();
    draw();
  });
}

async function place() {
  const id = await checkout.send();
  if (id) closeDialog(id);
}

function stage(order) {
  switch (order.stage) {
    case 'waiting':
      return html`<p class="inline" role="status">${c.waiting(number(order.seconds))}</p>`;
    case 'unknown':
      return fault([c.unknown, c.unknownText]);
    case 'busy':
      return fault([c.busy, c.busyText, explain(order.error)[2]]);
    case 'offline':
      return fault([words.fault.offline[0], c.offline]);
    case 'changed':
      return fault(order.before === order.total ? [c.cartChanged, c.cartChangedText] : [c.changed, c.changedText(number(order.before), number(order.total))]);
    case 'refused':
      return fault(order.error);
    default:
      return nothing;
  }
}

function dialog(close) {
  const { order } = checkout;
  if (!order) return nothing;
  const under = checkout.isOpen();
  const asking = isPending();
  const lines = state.cart?.lines ?? [];
  return html`<div class="sheet">
    <h2>${c.title}</h2>
    ${asking || !lines.length ? nothing : html`<ul class="mini">${lines.map((line) => html`<li>
      ${picture(line.picture_url, { name: line.name })}<span>${number(line.quantity)} × ${line.name ?? '?'}</span>
      ${line.line_points === null ? nothing : points(line.line_points)}</li>`)}</ul>`}
    ${order.stage === 'refused' ? nothing : html`<dl class="sums">
      <div><dt>${w.total}</dt><dd class="strong">${points(order.total)}</dd></div>
      ${state.balance === null || asking || state.balance < order.total ? nothing : html`<div><dt>${w.after}</dt><dd>${points(state.balance - order.total)}</dd></div>`}
    </dl>`}
    ${stage(order)}
    ${order.stage === 'refused'
      ? button({ label: words.close, wide: true, act: () => close() })
      : html`${button({
          label: under ? c.sending : asking ? c.ask : c.go(number(order.total)), wide: true, off: under, busy: under, act: place,
        })}
        ${under ? nothing : button({ label: words.cancel, kind: 'plain', wide: true, act: () => close() })}`}
  </div>`;
}
