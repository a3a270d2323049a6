/** One order's story: request, transaction, outbox, bus, consumers, e-mail, with times and ids, and where it waits. */
import { get } from '../api.js';
import { number } from '../format.js';
import { draw } from '../store.js';
import { atClock, short, time } from '../times.js';
import { fault, html, icon, nothing, skeleton } from '../ui.js';
import { isId, menu, poll } from './parts.js';
import { words } from './words.js';

const w = words.story;
let page = {};

export const title = () => (page.orderId ? w.one(short(page.orderId)) : w.title);

export async function enter([orderId]) {
  leave();
  page = { orderId: orderId ?? null, story: null, error: null, wrong: false, more: 10 };
  if (orderId) page.polling = poll(() => read(page));
}

export function leave() {
  page.polling?.stop();
}

async function read(mine) {
  try {
    mine.story = await get(`/staff/orders/${mine.orderId}/story`);
    mine.error = null;
  } catch (error) {
    mine.error = error;
  }
  if (mine.story && !mine.error && isOver(mine)) mine.polling.stop();
  if (mine === page) draw();
  return !mine.error;
}

/** Nothing is waited for; the log line of the transaction comes some seconds later, or not at all. */
const isOver = (mine) => isSettled(mine.story) && (mine.story.transaction || mine.story.told_by !== mine.story.region || (mine.more -= 1) < 0);
const isSettled = (story) => story.steps.every((step) => !step.waits.length);

function find(event) {
  event.preventDefault();
  const id = event.target.elements.order.value.trim().toLowerCase();
  page.wrong = !isId(id);
  if (!page.wrong) location.hash = `#/staff/orders/${id}`;
  draw();
}

const form = () => html`<form class="find" @submit=${find}><label>${w.find}<input name="order" autocomplete="off" spellcheck="false" maxlength="36" .value=${page.orderId ?? ''}
  aria-invalid=${page.wrong ? 'true' : nothing} />${page.wrong ? html`<span class="wrong" role="alert">${w.badId}</span>` : nothing}</label>${html`<button class="button secondary">${w.go}</button>`}</form>`;

/** A stop on the way: done at a time, waiting, or failed. */
const stop = (state, name, text, at, from) => html`<li class=${state}>
  <span class="mark">${state === 'done' ? icon('check') : state === 'failed' ? icon('alert') : html`<span class="spinner"></span>`}</span>
  <span><span class="strong">${name}</span> ${at ? html`<span class="meta">${time(at, atClock)}${from && new Date(at) - new Date(from) >= 0 ? ` ${w.after(number(new Date(at) - new Date(from)))}` : ''}</span>` : nothing}
  <span class="meta block">${text}</span></span></li>`;

const why = (wait) => {
  const said = w.why[wait.why];
  return `${w.waits} ${typeof said === 'function' ? said(wait.stage === 'e-mail' ? (w.mails[wait.name] ?? wait.name) : wait.name) : said}.`;
};
const FAILED = ['dead-letter', 'dead-letter-queue', 'rule-off', 'no-relay'];
const waitOf = (step, stage, name) => step.waits.find((one) => one.stage === stage && (!name || one.name === name));
const waitState = (wait) => (FAILED.includes(wait.why) ? 'failed' : 'waiting');

function outboxStop(step) {
  const wait = waitOf(step, 'outbox');
  if (wait && step.outbox?.failed_at) return stop('failed', w.outbox, `${w.deadInOutbox(step.outbox.reason)} ${why(wait)}`, step.outbox.failed_at, step.occurred_at);
  if (wait) return stop(waitState(wait), w.outbox, `${w.waitsInOutbox(step.outbox.region, number(step.outbox.attempts))} ${why(wait)}${step.outbox.reason ? ` ${step.outbox.reason}` : ''}`, step.outbox.created_at, step.occurred_at);
  return stop('done', w.outbox, w.written, step.occurred_at);
}

function busStop(step) {
  if (waitOf(step, 'outbox')) return stop('waiting', w.bus, w.notPublished);
  return stop('done', w.bus, step.published_at ? w.published : w.publishedUnknown, step.published_at);
}

function consumerStop(step, one) {
  const wait = waitOf(step, 'consumer', one.consumer);
  const name = w.consumers[one.consumer] ?? one.consumer;
  if (one.processed_at) return stop('done', name, one.consumer, one.processed_at, step.occurred_at);
  return stop(wait ? waitState(wait) : 'waiting', name, wait ? why(wait) : w.notYet);
}

function mailStop(step, mail) {
  const wait = waitOf(step, 'e-mail', mail.kind);
  const name = `${w.mail}: ${w.mails[mail.kind] ?? mail.kind}`;
  return stop(wait ? 'waiting' : 'done', name, html`${wait ? why(wait) : w.status[mail.status]} <code>${mail.notification_id}</code>`, mail.sent_at, step.occurred_at);
}

const stepOf = (step) => html`<section class="panel"><h2>${w.events[step.type] ?? step.type} <span class="meta">${step.type} <code>${step.event_id}</code></span></h2>
  ${step.is_forgotten ? html`<p class="hint">${w.forgotten}</p>` : html`<ol class="steps">${outboxStop(step)}${busStop(step)}
    ${step.consumers.length ? step.consumers.map((one) => consumerStop(step, one)) : html`<li class="done"><span class="mark">${icon('check')}</span><span class="meta">${w.nobody}</span></li>`}
    ${step.mails.map((mail) => mailStop(step, mail))}</ol>`}</section>`;

function beginning({ region, placed_at: at, correlation_id: id, transaction, customer_id: customer, order_id: order }) {
  const faults = Object.entries(transaction?.faults ?? {}).map(([kind, times]) => `${number(times)} × ${kind}`).join(', ');
  return html`<section class="panel"><h2>${w.order} <span class="meta"><code>${order}</code></span></h2><ol class="steps">
    ${stop('done', w.request, html`${w.requestText(region)}. ${w.correlation} <code>${id ?? ''}</code>`, at)}
    ${stop('done', w.transaction, transaction ? `${w.transactionText(number(transaction.attempts), number(transaction.round_trips), number(transaction.duration_ms))}${faults ? ` ${w.faults(faults)}` : ''}` : w.noTransaction, at)}</ol>
    <p class="hint">${w.customer} <a class="link" href="#/staff/customers/${customer}"><code>${customer}</code></a></p></section>`;
}

function tale() {
  const { story } = page;
  if (!story) return page.error ? fault(page.error, () => enter([page.orderId])) : skeleton(3, 'lines');
  return html`<p class="hint" role="status">${isSettled(story) ? w.settled : w.under} ${w.told(story.told_by)}</p>
    ${page.error ? fault(page.error) : nothing}${beginning(story)}${story.steps.map(stepOf)}`;
}

export const view = () => html`${menu('orders')}<h1 tabindex="-1">${title()}</h1>${form()}${page.orderId ? tale() : nothing}`;
