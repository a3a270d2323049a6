/** One item: added, changed where it is still as it was read, its stock set and booked, retired. */
import { request } from '../api.js';
import { Problem } from '../faults.js';
import { openDialog } from '../dialogs.js';
import { number } from '../format.js';
import { announce, draw } from '../store.js';
import { live } from '../vendor/lit-html/directives/live.js';
import { onDay } from '../times.js';
import { button, fault, html, nothing, skeleton } from '../ui.js';
import { Write, telling } from '../write.js';
import { menu } from './parts.js';
import { words } from './words.js';

const w = words.item;
const TEXTS = { name: 50, description: 200, category: 20, usd_price: 9, sku: 20, thumbnail_id: 36 };
const NUMBERS = { points_price: 1, rating: 'any', weight: 'any', width: 'any', height: 'any', depth: 'any' };
const FIELDS = ['name', 'description', 'category', 'points_price', 'usd_price', 'rating', 'sku', 'weight', 'width', 'height', 'depth', 'thumbnail_id'];
let page = {};

const isNew = () => page.id === 'new';
export const title = () => (isNew() ? w.newTitle : page.item?.name ?? words.items.title);

export async function enter([id]) {
  page = { id, item: null, tag: null, typed: {}, error: null, wrong: null, busy: false, conflict: null, add: new Write(), set: new Write(), adjust: new Write() };
  if (!isNew()) await read();
}

async function read() {
  const mine = page;
  try {
    const { body, headers } = await request('GET', `/staff/items/${mine.id}`);
    Object.assign(mine, { item: body, tag: headers.get('ETag'), error: null });
  } catch (error) {
    mine.error = error;
  }
  if (mine === page) draw();
}

const valueOf = (field) => page.typed[field] ?? page.item?.[field] ?? '';

/** The item as the form has it; what is empty is not known of it. */
const asTyped = () => Object.fromEntries(FIELDS.map((field) => {
  const text = String(valueOf(field)).trim();
  return [field, text === '' ? null : field in NUMBERS ? Number(text) : text];
}));

async function save(event) {
  event?.preventDefault();
  const mine = page;
  if (isNew()) {
    const added = await mine.add.send('POST', '/staff/items', asTyped());
    if (!added) return;
    announce(w.added);
    location.hash = `#/staff/items/${added.body.item_id}`;
    return;
  }
  Object.assign(mine, { busy: true, wrong: null });
  draw();
  try {
    await request('PUT', `/staff/items/${mine.id}`, { body: asTyped(), match: mine.tag });
    Object.assign(mine, { typed: {}, conflict: null });
    await read();
    announce(w.saved);
  } catch (error) {
    if (error instanceof Problem && error.kind === 'precondition-failed') await compare();
    else mine.wrong = error;
  }
  mine.busy = false;
  draw();
}

/** Somebody else was faster: read what is saved now, and let the person choose. */
async function compare() {
  const mine = asTyped();
  await read();
  if (page.error) return;
  page.typed = Object.fromEntries(FIELDS.map((field) => [field, mine[field] ?? '']));
  const differs = (field) => String(mine[field] ?? '') !== String(page.item[field] ?? '');
  page.conflict = FIELDS.filter(differs).map((field) => ({ field, mine: mine[field], theirs: page.item[field] }));
  if (page.conflict.length) return;
  // What is saved by now is what this would have: there is nothing to choose.
  Object.assign(page, { typed: {}, conflict: null });
  announce(w.saved);
}

const wrongAt = (error, name) => error?.errors?.find(({ pointer }) => pointer === `/${name}`);

function field(name) {
  const wrong = wrongAt(page.wrong ?? page.add.wrong, name);
  return html`<label>${w.fields[name]}<input name=${name} autocomplete="off" .value=${live(String(valueOf(name)))} type=${name in NUMBERS ? 'number' : 'text'} step=${NUMBERS[name] ?? nothing}
    min=${name in NUMBERS ? 0 : nothing} maxlength=${TEXTS[name] ?? nothing} ?required=${name === 'name' || name === 'points_price'} aria-invalid=${wrong ? 'true' : nothing}
    @input=${(event) => { page.typed[name] = event.target.value; }} />${wrong ? html`<span class="wrong">${wrong.detail}</span>` : nothing}</label>`;
}

const conflict = () => html`<div class="panel notice" role="alert"><div>
  <p class="strong">${w.conflict}</p><p>${w.conflictText}</p>
  <table><thead><tr><th scope="col">${w.field}</th><th scope="col">${w.mine}</th><th scope="col">${w.theirs}</th></tr></thead><tbody>
    ${page.conflict.map((one) => html`<tr><th scope="row">${w.fields[one.field]}</th><td>${one.mine ?? w.none}</td><td>${one.theirs ?? w.none}</td></tr>`)}</tbody></table>
  <div class="row">${button({ label: w.keepMine, kind: 'secondary', act: save })}
  ${button({ label: w.takeTheirs, kind: 'secondary', act: () => { Object.assign(page, { typed: {}, conflict: null }); draw(); } })}</div></div></div>`;

const submit = (label, busy) => html`<button class="button primary" ?disabled=${busy}>${busy ? html`<span class="spinner"></span>` : nothing}${label}</button>`;

const about = () => html`<section class="panel"><form class="form two" @submit=${save}>${FIELDS.map(field)}
  <div class="span">${page.conflict ? conflict() : nothing}${page.wrong ? fault(page.wrong) : nothing}${telling(page.add)}
  ${page.item?.retired_at ? nothing : submit(isNew() ? w.add : w.save, page.busy || page.add.busy)}</div></form></section>`;

// --- Stock ---

async function setStock(event) {
  event.preventDefault();
  const { available, slots } = Object.fromEntries(new FormData(event.target));
  const done = await page.set.send('PUT', `/staff/items/${page.id}/stock`, { available: available === '' ? null : Number(available), slots: Number(slots || 1) });
  if (!done) return;
  announce(w.setDone);
  await read();
}

async function adjust(event) {
  event.preventDefault();
  const form = event.target;
  const done = await page.adjust.send('POST', `/staff/items/${page.id}/stock/adjustments`, { delta: Number(form.elements.delta.value) });
  if (!done) return;
  form.reset();
  announce(w.adjusted(number(done.body.available)));
  await read();
}

function stock() {
  const slots = page.item.stock;
  const units = slots?.reduce((total, one) => total + one.available, 0);
  return html`<section class="panel" aria-labelledby="stock"><h2 id="stock">${w.stock}</h2>
    <p class="stock-now">${slots ? w.stockNow(number(units), w.slots(number(slots.length))) : w.unlimited}</p>
    <form class="form two" aria-label=${w.setStock} @submit=${setStock}><label>${w.available}<input name="available" type="number" min="0" /></label>
      <label>${w.slotsField}<input name="slots" type="number" min="1" value="1" /></label><div class="span">${telling(page.set)}${submit(w.set, page.set.busy)}</div></form>
    ${slots ? html`<form class="form two" @submit=${adjust}><label>${w.adjust}<input name="delta" type="number" step="1" required /></label>
      <div class="span">${telling(page.adjust)}${submit(w.adjustGo, page.adjust.busy)}</div></form>` : nothing}</section>`;
}

// --- Retirement ---

async function retire() {
  const mine = { busy: false, wrong: null };
  const done = await openDialog((close) => html`<div class="sheet"><h2>${w.retireTitle}</h2><p>${page.item.name}</p><p>${w.retireText}</p>${mine.wrong ? fault(mine.wrong) : nothing}
    <div class="row">${button({
      label: w.retire, kind: 'danger', busy: mine.busy, off: mine.busy, act: async () => {
        Object.assign(mine, { busy: true, wrong: null });
        draw();
        try {
          await request('DELETE', `/staff/items/${page.id}`);
          close(true);
        } catch (error) {
          mine.wrong = error;
        }
        mine.busy = false;
        draw();
      },
    })}${button({ label: w.keep, kind: 'secondary', act: () => close(false) })}</div></div>`, { label: w.retireTitle });
  if (!done) return;
  announce(w.retireDone);
  await read();
}

export function view() {
  const head = html`${menu('items')}<p><a class="back" href="#/staff/items">${w.back}</a></p><h1 tabindex="-1">${title()}</h1>`;
  if (isNew()) return html`${head}${about()}`;
  if (!page.item) return html`${head}${page.error ? fault(page.error, read) : skeleton(4, 'lines')}`;
  return html`${head}<p class="hint">${w.version(number(page.item.version))} <code>${page.id}</code></p>
    ${page.item.retired_at ? html`<p class="inline" role="status">${w.retired(onDay(page.item.retired_at))}</p>` : nothing}
    ${page.error ? fault(page.error, read) : nothing}${about()}
    ${page.item.retired_at ? nothing : html`${stock()}<p class="row">${button({ label: w.retire, kind: 'danger', act: retire })}</p>`}`;
}
