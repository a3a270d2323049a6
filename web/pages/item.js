/** One item: its pictures, what is known of it, and into the cart with it. */
import { get } from '../api.js';
import { Problem } from '../faults.js';
import { decimal, number } from '../format.js';
import { MOST_OF_A_LINE, points } from '../shopper.js';
import { draw, state } from '../store.js';
import { usd } from '../times.js';
import { button, empty, fault, html, icon, nothing, picture, skeleton, toShop } from '../ui.js';
import { words as shelf } from '../words/shop.js';
import { words } from '../words/frame.js';
import { words as own } from '../words/pages.js';
import { add, isAdding, rating, stock } from './catalogue.js';
import { stepper } from './parts.js';

const w = own.item;
let shown = {};

export const title = () => shown.item?.name ?? shelf.title;

export async function enter([itemId]) {
  shown = { itemId, item: null, error: null, picture: 0, quantity: 1 };
  await read();
}

async function read() {
  const mine = shown;
  mine.error = null;
  try {
    mine.item = await get(`/catalog/${mine.itemId}`);
  } catch (error) {
    mine.error = error;
  }
  draw();
}

const fact = (name, value) => (value === null || value === undefined || value === '' ? nothing : html`<div><dt>${name}</dt><dd>${value}</dd></div>`);

export function view() {
  const { item, error } = shown;
  if (error instanceof Problem && error.status < 500) {
    return empty({ sign: 'shop', title: words.notFound.title, text: w.gone, action: toShop, whole: true });
  }
  if (error) return html`<h1 tabindex="-1">${shelf.title}</h1>${fault(error, read)}`;
  if (!item) return html`<h1 class="hidden">${words.loading}</h1>${skeleton(2, 'detail')}`;
  const sold = item.available === 0;
  const most = Math.min(item.available ?? MOST_OF_A_LINE, MOST_OF_A_LINE);
  const size = [item.width, item.height, item.depth].filter((one) => one !== null);
  const pictures = item.pictures.length ? item.pictures : [{ url: item.picture_url }];
  const missing = item.points - (state.balance ?? Infinity);
  return html`<p><a class="back" href="#/" @click=${goBack}>${icon('back')}${words.toShop}</a></p>
  <article class="detail">
    <section aria-label=${w.pictures} class="gallery">
      ${picture(pictures[shown.picture].url, { name: item.name, alt: item.name, eager: true })}
      ${pictures.length > 1 ? html`<div class="thumbs">${pictures.map((one, index) => html`
        <button type="button" aria-label=${w.picture(item.name, number(index + 1))} aria-pressed=${String(index === shown.picture)}
          @click=${() => { shown.picture = index; draw(); }}>${picture(one.url, { name: item.name })}</button>`)}</div>` : nothing}
    </section>
    <section class="facts">
      <p class="meta"><span>${item.category ?? ''}</span>${rating(item.rating)}</p>
      <h1 tabindex="-1">${item.name}</h1>
      <p class="price">${points(item.points)} ${stock(item)}</p>
      <p class="lead">${item.description ?? ''}</p>
      <div class="buy-box">
        ${sold ? nothing : stepper({ name: item.name, quantity: shown.quantity, most, set: (quantity) => { shown.quantity = quantity; draw(); } })}
        ${button({ label: sold ? shelf.soldOut : w.add, sign: sold ? undefined : 'cart', act: () => add(item, shown.quantity), off: sold, busy: isAdding(item) })}
      </div>
      ${missing > 0 ? html`<p class="hint">${w.short(number(missing))}</p>` : nothing}
      <dl>
        ${fact(w.price, item.usd_price && usd(item.usd_price))}
        ${fact(w.size, size.map(decimal).join(' × '))}
        ${fact(w.weight, item.weight && decimal(item.weight))}
        ${fact(w.sku, item.sku)}
      </dl>
    </section>
  </article>`;
}

function goBack(event) {
  // Where they came from is the shelf as they had it; a link of its own would begin anew.
  if (history.length > 1 && state.fromShelf) {
    event.preventDefault();
    history.back();
  }
}
