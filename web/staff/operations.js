/** Operations: how the pipeline is, in both Regions side by side, each as it tells itself; read-only. */
import { Problem, problemOf } from '../faults.js';
import { number } from '../format.js';
import { regions } from '../regions.js';
import { SignedOut, token } from '../session.js';
import { draw } from '../store.js';
import { atClock } from '../times.js';
import { fault, html, icon, nothing, skeleton } from '../ui.js';
import { command, menu, poll } from './parts.js';
import { plot } from './plot.js';
import { words } from './words.js';

const w = words.operations;
const TIMEOUT_MS = 12_000;
const STALE_MS = 10_000;
const OLD_S = 60; // as OutboxAgingAlarm has it
const PLOTS = [
  ['checkouts', ['placed', 'refused']], ['retries', ['conflicts', 'gave_up']], ['lag', ['lag_p99', 'lag_p50']],
  ['relay_lag', ['relay_lag_p99']], ['latency', ['checkout_p99']], ['errors', ['server_errors']],
];

let seen = []; // one for each Region: {at, told, error, toldAt, polling}

export const title = () => w.title;

export async function enter() {
  leave();
  seen = regions.map((at) => ({ at, told: null, error: null, toldAt: null, failedAt: null }));
  for (const one of seen) one.polling = poll(() => read(one));
}

export function leave() {
  for (const one of seen) one.polling?.stop();
  seen = [];
}

/** Ask one Region, and no other where it does not answer: that it does not is what the page is to show. */
async function read(one) {
  try {
    let answer = await send(one.at, false);
    if (answer.status === 401) answer = await send(one.at, true);
    if (!answer.ok) throw await problemOf(answer);
    Object.assign(one, { told: await answer.json(), error: null, toldAt: Date.now(), failedAt: null });
  } catch (error) {
    Object.assign(one, { error, failedAt: one.failedAt ?? Date.now() });
  }
  draw();
  return !one.error;
}

const send = async (at, renewed) => fetch(`${at.api}/staff/operations`, {
  headers: { Authorization: await token(at, { renewed }) }, signal: AbortSignal.timeout(TIMEOUT_MS),
});

// --- What the answers say together ---

/** The answer of all that is youngest: outboxes and relays are in the one database, whoever tells of them. */
const freshest = () => seen.filter((one) => one.told).sort((a, b) => b.toldAt - a.toldAt)[0];
const outboxOf = (name) => freshest()?.told.outboxes.find((one) => one.region === name) ?? null;
const workersOf = (name) => freshest()?.told.relay_workers.filter((one) => one.region === name) ?? [];
const names = () => [...new Set([...seen.map((one) => one.at.name), ...(freshest()?.told.outboxes.map((one) => one.region) ?? [])])];
const isStale = (one) => one.error !== null || Date.now() - one.toldAt > STALE_MS;
const sum = (list, of) => list.reduce((total, one) => total + of(one), 0);
const many = (outbox) => (outbox.is_capped ? w.atLeast(number(outbox.messages)) : number(outbox.messages));
const newest = (told, name) => told?.minutes?.series.find((one) => one.name === name)?.values.findLast((value) => value !== null) ?? null;
const inHour = (told, name) => sum(told?.minutes?.series.find((one) => one.name === name)?.values ?? [], (value) => value ?? 0);

/** What is wrong: in words, the command that looks into it, and where the runbook speaks of it. */
function problems() {
  const found = [];
  const add = (text, run, anchor) => found.push({ text, run, anchor });
  for (const one of seen) {
    if (one.error && !(one.error instanceof SignedOut)) add(w.problems.lost(one.at.name), `./rewards outbox status --region ${one.at.name}`, 'where-to-look');
  }
  for (const name of names()) {
    const outbox = outboxOf(name);
    const alive = workersOf(name).filter((one) => one.is_alive).length;
    const status = `./rewards outbox status --region ${freshest()?.at.name}`;
    if (!outbox) continue;
    if (outbox.messages && !alive) add(w.problems.relay(name, many(outbox)), status, 'stoppedalarm');
    else if (outbox.oldest_s > OLD_S) add(w.problems.old(name, number(outbox.oldest_s)), status, 'outboxagingalarm');
    if (outbox.rejected) add(w.problems.rejected(name, number(outbox.rejected), outbox.last_error), status, 'busoutagesalarm');
  }
  const dead = freshest()?.told.outbox_dead_letters;
  if (dead) add(w.problems.outboxDead(number(dead)), './rewards outbox dead', 'outboxdeadlettersalarm');
  for (const { at, told } of seen) {
    for (const queue of told?.queues ?? []) {
      if (!queue.dead) continue;
      const look = `./rewards queues inspect ${queue.name} --region ${at.name}`;
      if (queue.name === 'undelivered') add(w.problems.undelivered(at.name, number(queue.dead)), look, 'undeliveredeventsalarm');
      else add(w.problems.queueDead(queue.name, at.name, number(queue.dead)), look, 'deadlettersalarm');
    }
    for (const alarm of told?.alarms?.on ?? []) {
      const [, anchor] = alarm.description.match(/runbook\.md#([\w-]+)/) ?? [];
      add(`${w.problems.alarm(alarm.name, at.name)} ${alarm.description.split(/\.\s+See /)[0]}.`, `aws cloudwatch describe-alarms --alarm-name-prefix rewards-orders-${alarm.name} --region ${at.name}`, anchor);
    }
  }
  return found;
}

// --- What is drawn ---

const fact = (name, value, wrong = false) => html`<div><dt>${name}</dt><dd class=${wrong ? 'bad' : ''}>${value}</dd></div>`;

function health(one) {
  if (one.error instanceof SignedOut) return html`<span class="tag few">${w.noAnswer}</span>`;
  if (one.error) return html`<span class="tag lost">${icon('alert')} ${one.toldAt ? w.noAnswerSince(atClock(one.failedAt)) : w.noAnswer}</span>`;
  return html`<span class="tag ${one.told ? 'PLACED' : ''}">${one.told ? w.answers : w.asking}</span>`;
}

function card(one) {
  const { told, at } = one;
  const outbox = outboxOf(at.name);
  const workers = workersOf(at.name);
  const alive = workers.filter((each) => each.is_alive).length;
  const dead = told?.queues ? sum(told.queues, (queue) => queue.dead) : null;
  return html`<section class="panel region-card ${told && isStale(one) ? 'stale' : ''}" aria-label=${at.name}>
    <div class="card-head"><h3>${at.name}</h3>${health(one)}</div>
    <p class="hint">${one.error instanceof SignedOut ? w.signIn : !one.toldAt ? (one.error ? w.never : w.asking) : isStale(one) ? w.stale(atClock(one.toldAt)) : w.asOf(atClock(one.toldAt))}</p>
    <dl>
      ${fact(w.waiting, outbox ? html`${many(outbox)}${freshest().at === at ? nothing : html` <span class="meta">${w.told(freshest().at.name)}</span>`}` : w.unknown)}
      ${fact(w.oldest, outbox ? w.seconds(number(outbox.oldest_s)) : w.unknown, outbox?.oldest_s > OLD_S)}
      ${fact(w.relays, outbox ? (alive ? w.relaysOf(number(alive), number(workers.length)) : w.noRelay) : w.unknown, outbox && !alive)}
      ${fact(w.queues, told?.queues ? number(sum(told.queues, (queue) => (queue.waiting ?? 0) + (queue.in_flight ?? 0))) : w.unknown)}
      ${fact(w.dead, dead === null ? w.unknown : number(dead), dead > 0)}
      ${fact(w.alarms, told?.alarms ? w.alarmsOf(number(told.alarms.on.length), number(told.alarms.quiet), number(told.alarms.unknown)) : w.unknown, told?.alarms?.on.length > 0)}
    </dl></section>`;
}

const tile = (name, value) => html`<div class="panel tile"><dt>${name}</dt><dd>${value}</dd></div>`;

function tiles() {
  const told = freshest()?.told;
  if (!told) return skeleton(4, 'tiles');
  const lag = seen.map((one) => newest(one.told, 'lag_p99')).filter((value) => value !== null);
  return html`<dl class="tiles">
    ${tile(w.waiting, number(sum(told.outboxes, (one) => one.messages)))}
    ${tile(w.outboxDead, number(told.outbox_dead_letters))}
    ${tile(w.lag, lag.length ? `${number(Math.round(Math.max(...lag)))} ms` : w.unknown)}
    ${tile(w.retries, seen.some((one) => one.told?.minutes) ? number(sum(seen, (one) => inHour(one.told, 'conflicts'))) : w.unknown)}
  </dl>`;
}

const todo = () => {
  const found = problems();
  return html`<section class="panel" aria-labelledby="todo"><h2 id="todo">${w.todo}</h2>
    ${found.length ? html`<ul class="todo">${found.map((one) => html`<li><p>${one.text}</p>
      <p class="row">${command(one.run)}${one.anchor ? html`<span class="meta">${w.see} <code>docs/runbook.md#${one.anchor}</code></span>` : nothing}</p></li>`)}</ul>`
      : html`<p class="hint">${freshest() ? w.nothing : w.asking}</p>`}</section>`;
};

/** The minutes that are drawn: from the first that has a figure on, the last ten at least. */
const LEAST_DRAWN = 10;

function drawn(series) {
  const first = Math.min(...series.map(({ values }) => values.findIndex((value) => value !== null)).map((at) => (at < 0 ? Infinity : at)));
  const count = Math.max(...series.map(({ values }) => values.length));
  const from = Math.max(0, Math.min(first, count - LEAST_DRAWN));
  return series.map((one) => ({ ...one, values: one.values.slice(from) }));
}

function plots({ series }) {
  const all = drawn(series);
  return PLOTS.map(([name, own]) => plot(w.plots[name], own.map((one) => all.find((each) => each.name === one))));
}

const minutes = ({ at, told }) => (told ? html`<section class="panel" aria-labelledby="minutes-${at.name}"><h2 id="minutes-${at.name}">${w.minutes} <span class="meta">${at.name}</span></h2>
  <p class="hint">${w.minutesText} ${told.minutes ? (told.minutes.newest ? w.newest(atClock(told.minutes.newest)) : w.noMinutes) : w.cloudWatch}</p>
  ${told.minutes ? html`<div class="plots">${plots(told.minutes)}</div>` : nothing}</section>` : nothing);

const queues = ({ at, told }) => (told?.queues ? html`<section class="panel"><h2>${w.queuesOf(at.name)}</h2><table>
  <thead><tr><th scope="col">${w.queue}</th><th scope="col" class="n">${w.inQueue}</th><th scope="col" class="n">${w.inFlight}</th><th scope="col" class="n">${w.deadLetters}</th></tr></thead>
  <tbody>${told.queues.map((one) => html`<tr><th scope="row">${one.name}</th><td class="n">${one.waiting === null ? '' : number(one.waiting)}</td>
    <td class="n">${one.in_flight === null ? '' : number(one.in_flight)}</td><td class="n ${one.dead ? 'bad' : ''}">${number(one.dead)}</td></tr>`)}</tbody></table></section>` : nothing);

export const view = () => html`${menu('operations')}<h1 tabindex="-1">${w.title}</h1><p class="hint">${w.lead}</p>
  ${!seen.some((one) => one.told || one.error) ? skeleton(seen.length, 'region-cards') : seen.every((one) => one.error instanceof Problem && one.error.status === 403) ? fault(seen[0].error) : html`
  <section aria-labelledby="regions"><h2 id="regions" class="hidden">${w.regions}</h2><div class="region-cards">${seen.map(card)}</div></section>
  <section aria-labelledby="all"><h2 id="all" class="hidden">${w.all}</h2>${tiles()}</section>
  ${todo()}
  <div class="sides">${seen.map(minutes)}</div>
  <div class="sides">${seen.map(queues)}</div>`}`;
