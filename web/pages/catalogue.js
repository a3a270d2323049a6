/** The shelf: search, categories, sorting, more. What is chosen stands in the address, so that it can be sent and gone back to. */
import { get } from '../api.js';
import { number } from '../format.js';
import { addUnits, points } from '../shopper.js';
import { announce, draw, state } from '../store.js';
import { button, empty, explain, fault, html, icon, nothing, picture, skeleton } from '../ui.js';
import { words as w } from '../words/shop.js';
import { words } from '../words/frame.js';

const PAGE = 24;
const FEW = 10; // from here on a card says how many are left

const shelf = { asked: null, items: null, cursor: null, error: null, busy: false };
let categories = [];
const adding = new Set();

export const title = () => w.title;

/** Read the first page of what the address asks for; what is shown already stays if it is the same. */
export async function enter(_, query) {
  if (!categories.length) readCategories();
  const asked = { category: query.get('category') ?? '', q: query.get('q') ?? '', sort: query.get('sort') ?? 'name' };
  if (shelf.items && JSON.stringify(asked) === JSON.stringify(shelf.asked) && !shelf.error) return;
  Object.assign(shelf, { asked, items: null, cursor: null, error: null });
  await read(asked);
}

/** The shelf can be looked at without them: a failure leaves the one chip. */
async function readCategories() {
  categories = await get('/catalog/categories').then((found) => found.categories, () => []);
  draw();
}

async function read(asked) {
  const more = shelf.items !== null;
  shelf.busy = true;
  draw();
  try {
    const page = await get('/catalog', { ...asked, limit: PAGE, cursor: shelf.cursor });
    if (asked !== shelf.asked) return; // somebody has chosen something else meanwhile
    shelf.items = [...(shelf.items ?? []), ...page.items];
    shelf.cursor = page.next_cursor;
    shelf.error = null;
    if (!more && (asked.q || asked.category)) announce(counted());
  } catch (error) {
    if (asked === shelf.asked) shelf.error = error;
  }
  shelf.busy = false;
  draw();
}

const counted = () => (shelf.cursor ? w.shownMore : w.shown)(shelf.items.length);

function address(change) {
  const { category, q, sort } = { ...shelf.asked, ...change };
  const given = Object.entries({ category, q, sort: sort === 'name' ? '' : sort }).filter(([, value]) => value);
  return given.length ? `#/?${new URLSearchParams(given)}` : '#/';
}

const go = (change) => {
  location.hash = address(change);
};

function search(event) {
  event.preventDefault();
  go({ q: new FormData(event.target).get('q').trim() });
}

export async function add(item, units = 1) {
  if (adding.has(item.item_id)) return;
  adding.add(item.item_id);
  draw();
  try {
    await addUnits(item.item_id, units);
    announce(w.added(item.name, state.cart.unit_count));
  } catch (error) {
    const [what, text] = explain(error);
    announce(`${what}. ${text}`);
  }
  adding.delete(item.item_id);
  draw();
}

/** What a card or a page says of the stock. */
export function stock(item) {
  if (item.available === 0) return html`<span class="tag off">${w.soldOut}</span>`;
  if (item.available !== null && item.available <= FEW) return html`<span class="tag few">${w.left(number(item.available))}</span>`;
  return nothing;
}

export const rating = (value) => (value === null ? nothing : html`<span class="rating">${icon('star')}<span aria-hidden="true">${number(Math.round(value * 10) / 10)}</span><span class="hidden">${w.rated(number(Math.round(value * 10) / 10))}</span></span>`);

export const isAdding = (item) => adding.has(item.item_id);

const card = (item, index) => html`<li class="card">
  <a class="card-link" href="#/item/${item.item_id}">
    ${picture(item.picture_url, { name: item.name, eager: index < 8 })}
    <h3>${item.name}</h3>
  </a>
  <p class="meta"><span>${item.category ?? ''}</span>${rating(item.rating)}</p>
  ${stock(item)}
  <div class="buy">${points(item.points)}${button({
    label: w.add, sign: 'plus', kind: 'primary small', name: item.available === 0 ? `${w.soldOut}: ${item.name}` : w.addLabel(item.name),
    act: () => add(item), off: item.available === 0, busy: isAdding(item),
  })}</div>
</li>`;

export function view() {
  const { asked, items, error } = shelf;
  return html`
    <section class="hero">
      <div>
        <h1 tabindex="-1">${w.hello(state.user.name)}</h1>
        <p class="hero-balance">${state.balance === null ? html`<span class="bone line"></span>` : html`${points(state.balance)} <span>${w.spend}</span>`}</p>
      </div>
      <form role="search" @submit=${search}>
        <label class="hidden" for="q">${w.search}</label>
        <span class="search">${icon('search')}<input id="q" name="q" type="search" maxlength="50" placeholder=${w.search} .value=${asked.q} />
        <button class="button primary">${w.searchGo}</button></span>
      </form>
    </section>
    <div class="shelf-bar">
      <nav class="chips" aria-label=${w.categories}>
        <a href=${address({ category: '' })} aria-current=${asked.category ? nothing : 'true'}>${w.all}</a>
        ${categories.map((name) => html`<a href=${address({ category: name })} aria-current=${asked.category === name ? 'true' : nothing}>${name}</a>`)}
      </nav>
      <label class="sort">${w.sort} <select @change=${(event) => go({ sort: event.target.value })}>
        ${Object.entries(w.sorts).map(([value, say]) => html`<option value=${value} ?selected=${asked.sort === value}>${say}</option>`)}</select></label>
    </div>
    ${error && !items ? fault(error, () => read(asked)) : nothing}
    ${items === null && !error ? skeleton(PAGE / 3, 'grid') : nothing}
    ${items?.length === 0 ? empty({ sign: 'search', title: w.none, text: w.noneText, action: html`<a class="button primary" href="#/">${w.clear}</a>` }) : nothing}
    ${items?.length ? html`<h2 class="hidden">${counted()}</h2><ul class="grid">${items.map(card)}</ul>` : nothing}
    ${error && items ? fault(error, () => read(asked)) : nothing}
    ${shelf.cursor && !error ? html`<p class="centre">${button({ label: words.more, kind: 'secondary', act: () => read(asked), busy: shelf.busy, off: shelf.busy })}</p>` : nothing}`;
}

/** What a stock or a price was may have changed since: the next visit reads the shelf anew. */
export function leave() {
  if (shelf.error) shelf.items = null;
}

/** Forget what was read, as it holds another Region's picture addresses. */
export function forget() {
  shelf.items = null;
}
