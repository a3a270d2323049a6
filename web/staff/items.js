/** Items: found by name as shoppers find them, or by number, to be changed; new ones added. */
import { get } from '../api.js';
import { number } from '../format.js';
import { draw } from '../store.js';
import { button, fault, html, nothing, skeleton } from '../ui.js';
import { isId, menu } from './parts.js';
import { words } from './words.js';
import { words as common } from '../words/frame.js';

const w = words.items;
let page = {};

export const title = () => w.title;

export async function enter() {
  page = { q: '', items: null, cursor: null, error: null };
  await read();
}

async function read(before = []) {
  const mine = page;
  try {
    const found = await get('/catalog', { q: mine.q, limit: 20, cursor: before.length ? mine.cursor : null });
    Object.assign(mine, { items: [...before, ...found.items], cursor: found.next_cursor, error: null });
  } catch (error) {
    mine.error = error;
  }
  draw();
}

function find(event) {
  event.preventDefault();
  page.q = event.target.elements.q.value.trim();
  if (isId(page.q)) location.hash = `#/staff/items/${page.q.toLowerCase()}`;
  else {
    page.items = null;
    read();
    draw();
  }
}

export const view = () => html`${menu('items')}<div class="card-head"><h1 tabindex="-1">${w.title}</h1><a class="button primary" href="#/staff/items/new">${w.add}</a></div>
  <p class="hint">${w.lead}</p>
  <form class="find" role="search" @submit=${find}><label>${w.search}<input name="q" type="search" maxlength="50" /></label><button class="button secondary">${w.go}</button></form>
  ${page.error ? fault(page.error, () => read(page.items ?? [])) : nothing}
  ${page.items ? html`<table><thead><tr><th scope="col">${w.name}</th><th scope="col" class="n">${w.price}</th><th scope="col" class="n">${w.left}</th></tr></thead><tbody>
    ${page.items.map((one) => html`<tr><th scope="row"><a class="link" href="#/staff/items/${one.item_id}">${one.name}</a></th>
      <td class="n">${number(one.points)}</td><td class="n">${one.available === null ? w.unlimited : number(one.available)}</td></tr>`)}</tbody></table>
    ${page.items.length ? nothing : html`<p class="hint">${w.none}</p>`}` : page.error ? nothing : skeleton(4, 'lines')}
  ${page.cursor ? html`<p class="centre">${button({ label: common.more, kind: 'secondary', act: () => read(page.items) })}</p>` : nothing}`;
