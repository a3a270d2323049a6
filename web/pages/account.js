/** The member's own account: address, balance and ledger, giving points away, erasure. */
import { get, request } from '../api.js';
import { Problem } from '../faults.js';
import { openDialog } from '../dialogs.js';
import { number } from '../format.js';
import { points, readBalance } from '../shopper.js';
import { announce, draw, state } from '../store.js';
import { signed, time } from '../times.js';
import { button, explain, fault, html, nothing, skeleton } from '../ui.js';
import { Write, telling } from '../write.js';
import { words } from '../words/frame.js';
import { words as own } from '../words/pages.js';
import { authenticator } from './authenticator.js';
import { live } from '../vendor/lit-html/directives/live.js';

const w = own.account;
const LONGEST = { first_name: 50, last_name: 50, email: 50, phone_num: 20, address: 100, city: 50, postal_code: 10, state: 25, state_code: 20 };
const FILLED_BY = {
  first_name: 'given-name', last_name: 'family-name', email: 'email', phone_num: 'tel', address: 'street-address',
  city: 'address-level2', postal_code: 'postal-code', state: 'address-level1', state_code: 'off',
};
const FIELDS = Object.keys(LONGEST);

let page = {};
let goodbye = () => {};

export const title = () => w.title;

/** Say what follows an erasure; it is given the words to say. */
export function afterErasure(act) {
  goodbye = act;
}

export async function enter() {
  page = { account: null, tag: null, typed: {}, error: null, wrong: null, busy: false, conflict: null, entries: null, cursor: null, given: null, code: '', unconfirmed: null };
  await Promise.all([readAccount(), readLedger(), readBalance().catch(() => {})]);
}

async function readAccount() {
  const mine = page;
  try {
    const { body, headers } = await request('GET', '/account');
    Object.assign(mine, { account: body, tag: headers.get('ETag'), error: null });
  } catch (error) {
    mine.error = error;
  }
  draw();
}

async function readLedger(before = []) {
  const mine = page;
  try {
    const ledger = await get('/points/ledger', { limit: 10, cursor: before.length ? mine.cursor : null });
    Object.assign(mine, { entries: [...before, ...ledger.entries], cursor: ledger.next_cursor, ledgerError: null });
  } catch (error) {
    mine.ledgerError = error;
  }
  draw();
}

/** What the account has; of its addresses the one that waits for its code, if one does. */
const saved = (field) => (field === 'email' && page.account.pending_email) || page.account[field];

const valueOf = (field) => page.typed[field] ?? saved(field) ?? '';

/** The account as the form has it; what is empty is not known. */
const asTyped = () => Object.fromEntries(FIELDS.map((field) => [field, valueOf(field).trim() || null]));

async function save(event) {
  event?.preventDefault();
  Object.assign(page, { busy: true, wrong: null });
  draw();
  try {
    const { headers, body } = await request('PUT', '/account', { body: asTyped(), match: page.tag });
    const typed = asTyped();
    page.account = { ...page.account, ...typed, ...body, email: body.pending_email ? page.account.email : typed.email };
    page.tag = headers.get('ETag');
    Object.assign(page, { typed: {}, conflict: null });
    announce(w.saved);
  } catch (error) {
    if (error instanceof Problem && error.kind === 'precondition-failed') await compare();
    else page.wrong = error;
  }
  page.busy = false;
  draw();
}

/** Somebody else was faster: read what is saved now, and let the person choose. */
async function compare() {
  await readAccount();
  const mine = asTyped();
  if (page.error) return;
  page.conflict = FIELDS.filter((field) => mine[field] !== saved(field)).map((field) => ({ field, mine: mine[field], theirs: saved(field) }));
  if (page.conflict.length) return;
  // What is saved by now is what this would have: there is nothing to choose.
  Object.assign(page, { typed: {}, conflict: null });
  announce(w.saved);
}

const field = (name) => {
  const wrong = page.wrong?.errors?.find(({ pointer }) => pointer === `/${name}`);
  return html`<label>${w.fields[name]}<input name=${name} maxlength=${LONGEST[name]} autocomplete=${FILLED_BY[name]} .value=${live(valueOf(name))}
    type=${{ email: 'email', phone_num: 'tel' }[name] ?? 'text'} aria-invalid=${wrong ? 'true' : nothing} @input=${(event) => { page.typed[name] = event.target.value; }} />
    ${wrong ? html`<span class="wrong">${wrong.detail}</span>` : nothing}</label>`;
};

const conflict = () => html`<div class="panel notice" role="alert"><div>
  <p class="strong">${w.conflict}</p><p>${w.conflictText}</p>
  <table><thead><tr><th>${w.field}</th><th>${w.mine}</th><th>${w.theirs}</th></tr></thead><tbody>
    ${page.conflict.map((one) => html`<tr><th scope="row">${w.fields[one.field]}</th><td>${one.mine ?? w.none}</td><td>${one.theirs ?? w.none}</td></tr>`)}
  </tbody></table>
  <div class="row">${button({ label: w.keepMine, kind: 'secondary', act: save })}
  ${button({ label: w.takeTheirs, kind: 'secondary', act: () => { Object.assign(page, { typed: {}, conflict: null }); draw(); } })}</div>
</div></div>`;

/** Send what is asked about the address that waits; `done` is given the answer. */
async function askAboutAddress(path, body, done) {
  Object.assign(page, { busy: true, unconfirmed: null });
  draw();
  try {
    done(await request('POST', path, { body }));
  } catch (error) {
    page.unconfirmed = error;
  }
  page.busy = false;
  draw();
}

function confirmAddress(event) {
  event.preventDefault();
  askAboutAddress('/account/email-confirmations', { code: page.code.trim() }, ({ body, headers }) => {
    Object.assign(page.account, body, { pending_email: null });
    Object.assign(page, { tag: headers.get('ETag'), code: '' });
    delete page.typed.email;
    announce(w.confirmed(body.email));
  });
}

const anotherCode = () => askAboutAddress('/account/email-codes', undefined, ({ body }) => announce(w.anotherSent(body.pending_email)));

const waiting = () => html`<section class="panel" aria-labelledby="waits"><h2 id="waits">${w.waits}</h2>
  <p>${w.waitsText(page.account.pending_email, page.account.email)}</p>
  <form class="form" @submit=${confirmAddress}>
    <label>${w.code}<input name="code" maxlength="20" autocomplete="one-time-code" autocapitalize="characters" spellcheck="false" required
      .value=${live(page.code)} @input=${(event) => { page.code = event.target.value; }} /></label>
    ${page.unconfirmed ? fault(page.unconfirmed) : nothing}
    <div class="row"><button class="button primary" ?disabled=${page.busy}>${w.confirm}</button>
    ${button({ label: w.another, kind: 'secondary', off: page.busy, act: anotherCode })}</div>
  </form></section>`;

const you = () => html`<section class="panel" aria-labelledby="you"><h2 id="you">${w.you} <span class="meta">${state.user.username}</span></h2>
  ${page.error && !page.account ? fault(page.error, readAccount) : nothing}
  ${!page.account && !page.error ? skeleton(4, 'lines') : nothing}
  ${page.account ? html`<form class="form two" @submit=${save}>
    ${FIELDS.map(field)}
    <div class="span">${page.conflict ? conflict() : nothing}${page.wrong ? fault(page.wrong) : nothing}
    <button class="button primary" ?disabled=${page.busy}>${page.busy ? html`<span class="spinner"></span>` : nothing}${w.save}</button></div>
  </form>` : nothing}</section>`;

const ledger = () => html`<section class="panel" aria-labelledby="ledger"><h2 id="ledger">${w.ledger}</h2>
  <p class="price">${state.balance === null ? html`<span class="bone line"></span>` : points(state.balance)}</p>
  ${page.ledgerError ? fault(page.ledgerError, () => readLedger(page.entries ?? [])) : nothing}
  ${page.entries ? html`<table class="ledger"><thead><tr><th>${w.when}</th><th>${w.what}</th><th class="n">${w.change}</th><th class="n">${w.after}</th></tr></thead><tbody>
    ${page.entries.map((entry) => html`<tr><td>${time(entry.at)}</td><td>${w.kinds[entry.kind] ?? entry.kind}</td>
      <td class="n ${entry.points < 0 ? '' : 'plus'}">${signed(entry.points)}</td><td class="n">${number(entry.balance_after)}</td></tr>`)}</tbody></table>` : page.ledgerError ? nothing : skeleton(4, 'lines')}
  ${page.cursor ? html`<p class="centre">${button({ label: words.more, kind: 'secondary', act: () => readLedger(page.entries) })}</p>` : nothing}</section>`;

// --- Giving points away ---

const transfer = new Write();

function give(event) {
  event.preventDefault();
  const form = event.target;
  const { payee, amount } = Object.fromEntries(new FormData(form));
  const body = { payee_username: payee.trim(), points: Number(amount) };
  transfer.wrong = null;
  const send = async (close) => {
    const done = await transfer.send('POST', '/points/transfers', body);
    if (!done) return;
    announce(w.given(number(body.points), body.payee_username));
    form.reset();
    close();
  };
  const heading = w.giveTitle(number(body.points), body.payee_username);
  openDialog((close) => html`<div class="sheet"><h2>${heading}</h2><p>${w.giveText}</p>
    ${telling(transfer)}
    ${button({ label: w.giveGo, wide: true, busy: transfer.busy, off: transfer.busy, act: () => send(close) })}
    ${button({ label: words.cancel, kind: 'plain', wide: true, off: transfer.busy, act: () => close() })}</div>`,
  { label: heading, dismissible: () => !transfer.busy }).then(() => { readBalance().catch(() => {}); readLedger(); }); // whatever became of it
}

const giving = () => html`<section class="panel" aria-labelledby="give"><h2 id="give">${w.give}</h2><p class="meta">${w.giveText}</p>
  <form class="form two" @submit=${give}>
    <label>${w.payee}<input name="payee" maxlength="50" autocapitalize="none" spellcheck="false" required /></label>
    <label>${w.amount}<input name="amount" type="number" inputmode="numeric" min="1" max=${Math.max(state.balance ?? 1, 1)} required /></label>
    <button class="button secondary">${w.giveGo}</button>
  </form></section>`;

// --- Erasure ---

function erase() {
  let typed = '';
  let busy = false;
  let wrong = null;
  const send = async (close) => {
    busy = true;
    wrong = null;
    draw();
    try {
      await request('DELETE', '/account');
      close();
      goodbye(w.erased);
    } catch (error) {
      wrong = error;
    }
    busy = false;
    draw();
  };
  openDialog((close) => html`<div class="sheet"><h2>${w.eraseTitle}</h2><p>${w.eraseText}</p>
    <div class="form"><label>${w.eraseType(state.user.username)}<input autocomplete="off" autocapitalize="none" spellcheck="false"
      @input=${(event) => { typed = event.target.value; draw(); }} /></label></div>
    ${wrong ? fault(explain(wrong)) : nothing}
    ${button({ label: w.eraseGo, kind: 'danger', wide: true, busy, off: busy || typed !== state.user.username, act: () => send(close) })}
    ${button({ label: words.cancel, kind: 'plain', wide: true, off: busy, act: () => close() })}</div>`,
  { label: w.eraseTitle, dismissible: () => !busy });
}

const leaving = () => html`<section class="panel" aria-labelledby="erase"><h2 id="erase">${w.erase}</h2><p class="meta">${w.eraseText}</p>
  ${button({ label: w.erase, kind: 'danger', act: erase })}</section>`;

/** What stands below, or on a narrow screen after, something that is still being read comes once it is there: nothing moves. */
export const view = () => html`<h1 tabindex="-1">${w.title}</h1>
  <div class="columns"><div>${page.account?.pending_email ? waiting() : nothing}${you()}${isKnown() ? giving() : nothing}</div>
  <div>${isKnown() ? ledger() : nothing}${isKnown() && (page.entries || page.ledgerError) ? html`${authenticator()}${leaving()}` : nothing}</div></div>`;

const isKnown = () => page.account || page.error;
