/** A drill while it runs: whole snapshots come over server-sent events, and the page is painted of the newest. */
import { html, nothing, render } from './vendor/lit-html/lit-html.js';
import { decimal, number } from './format.js';
import { bars, lines } from './plot.js';

const TITLES = { sale: 'One sale, many buyers', stress: 'Transfers under stress', regions: 'Two Regions, one lost' };
const STAGES = { starting: 'Starting', running: 'Running', done: 'Done', failed: 'Not as it must be' };
const SEATS = { waiting: ['waiting', '·'], trying: ['trying', '…'], done: ['won', '★'], 'out-of-stock': ['refused, nothing left', '×'], 'gave-up': ['gave up', '!'] };

const seconds = (value) => `${decimal(Math.round(value * 10) / 10)} s`;
const ms = (value) => `${number(Math.round(value))} ms`;
const clock = (iso) => iso.slice(11, 23);

const tiles = (all) => html`<dl class="tiles">${all.map(([name, value, kind = '']) => html`<div class=${kind}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;

/** A table: `columns` are [name, is a number]; the first cell of a row is its header. */
const table = (title, columns, rows) => html`<section class="panel"><h2>${title}</h2><div class="wide" tabindex="0" role="group" aria-label=${title}><table>
  <thead><tr>${columns.map(([name, figure]) => html`<th scope="col" class=${figure ? 'n' : ''}>${name}</th>`)}</tr></thead>
  <tbody>${rows.map((row) => html`<tr>${row.map((cell, at) => (at ? html`<td class=${columns[at][1] ? 'n' : ''}>${cell}</td>` : html`<th scope="row">${cell}</th>`))}</tr>`)}</tbody>
</table></div></section>`;

const bar = (name, done, of) => html`<label class="progress"><span>${name}</span><progress max=${of} .value=${done}></progress><span class="n">${number(done)} of ${number(of)}</span></label>`;

// --- The sale ---

const seat = (one, at) => {
  const [said, sign] = SEATS[one.state] ?? [one.state, '×'];
  return html`<li class="seat ${one.state}"><span aria-hidden="true">${sign}</span><span class="hidden">Buyer ${at + 1}: ${said}</span></li>`;
};

function sale(figures) {
  const { done = 0, ...others } = figures.outcomes;
  const refused = Object.values(others).reduce((sum, one) => sum + one, 0);
  return html`
    ${tiles([
    ['for sale', number(figures.units)], ['buyers', number(figures.buyers)], ['trying', number(figures.trying)], ['won', number(done), 'good'],
    ['refused', number(refused)], ['conflicts', number(figures.conflicts)], ['median', ms(figures.median_ms)], ['longest', ms(figures.longest_ms)],
  ])}
    ${figures.seats.length ? html`<div class="columns">${figures.regions.map((region) => html`<section class="panel"><h2>${region}</h2>
      <ol class="seats">${figures.seats.map((one, at) => [one, at]).filter(([one]) => one.region === region).map(([one, at]) => seat(one, at))}</ol></section>`)}</div>
      <p class="meta key" aria-hidden="true">${Object.values(SEATS).map(([said, sign]) => html`<span><b>${sign}</b> ${said}</span>`)}</p>`
    : bar('buyers who have an answer', figures.buyers - figures.waiting - figures.trying, figures.buyers)}
    ${figures.sale ? html`
      <p class="panel sold" id="sold">${number(figures.sale.orders)} sold from ${number(figures.sale.slots_sold_from)} slot(s) for ${number(figures.sale.debits)} points, ${number(figures.sale.left)} left.</p>
      ${table('Scoreboard', [['outcome'], ['buyers', 1], ['conflicts', 1], ['most attempts of one', 1]],
    figures.sale.scores.map((one) => [one.outcome, number(one.buyers), number(one.conflicts), number(one.most_attempts)]))}
      ${table('Out of the request log: the first to end, and the last', [['buyer'], ['Region'], ['outcome'], ['attempts', 1], ['start (UTC)', 1], ['end (UTC)', 1]],
    figures.sale.log.map((one) => [one.buyer.slice(0, 8), one.region, one.outcome, number(one.attempts), clock(one.started_at), clock(one.ended_at)]))}` : nothing}`;
}

// --- The stress test ---

function stress(figures) {
  const names = figures.runs.map((one) => one.name);
  const bucket = (at) => (at < figures.buckets_ms.length ? `≤ ${number(figures.buckets_ms[at])}` : `> ${number(figures.buckets_ms.at(-1))}`);
  return html`
    <section class="panel"><h2>Progress</h2>
      ${bar('connections', figures.connections, figures.connections_wanted)}
      ${figures.runs.map((one) => html`${bar(`transfers ${one.name}`, one.done, one.wanted)}
        <p class="meta">${Object.entries(one.errors).map(([kind, count]) => `${kind}: ${number(count)}`).join(', ')}</p>`)}
    </section>
    ${figures.runs.length ? html`<div class="columns">
      <section class="panel">${lines({ title: 'Calls', unit: 'a second', series: figures.runs.map((one) => ({ name: one.name, values: one.by_second })) })}</section>
      <section class="panel">${bars({ title: 'Time of a call', unit: 'calls by ms, retries included', series: names,
    bars: figures.runs[0].by_time.map((_, at) => ({ name: bucket(at), values: figures.runs.map((one) => one.by_time[at]) })) })}</section>
    </div>` : nothing}
    ${table('Beside the talk’s published figures', [['figure'], ['without retries', 1], ['the talk', 1], ['with retries', 1], ['the talk', 1]],
    figures.table.map((one) => [one.name, one.without_retries, one.talk_without, one.with_retries, one.talk_with]))}
    ${figures.points_after === null ? nothing : html`<p class="panel sold" id="sold">All accounts together: ${number(figures.points_before)} points before, ${number(figures.points_after)} after.</p>`}`;
}

// --- Two Regions ---

const STATES = { up: ['answers', 'good'], lost: ['lost', 'alarm'] };

const told = (line) => html`<li class=${line.kind}>${line.kind === 'check' ? html`<span class="mark" aria-hidden="true">✓</span>` : nothing}<span>${line.text}</span></li>`;

function regions(figures) {
  return html`
    ${tiles([
    ['orders', number(figures.orders)], ['requests', number(figures.requests)], ['sent again', number(figures.sent_again), figures.sent_again ? 'warn' : ''],
    ['found done', number(figures.found_done)], ['conflicts', number(figures.conflicts)],
  ])}
    <div class="columns">${figures.regions.map((one) => html`<section class="panel region-card"><h2>${one.name} <span class="tag ${STATES[one.state][1]}">${STATES[one.state][0]}</span></h2>
      ${tiles([['answers a second', number(one.answered.at(-1) ?? 0)], ['in its outbox', number(one.backlog.at(-1) ?? 0)], ['shards leased', number(one.leases)]])}</section>`)}</div>
    <div class="columns">
      <section class="panel">${lines({ title: 'Requests answered', unit: 'a second', moments: figures.moments, series: figures.regions.map((one) => ({ name: one.name, values: one.answered })) })}</section>
      <section class="panel">${lines({ title: 'Messages in the outbox', unit: 'waiting', moments: figures.moments, series: figures.regions.map((one) => ({ name: one.name, values: one.backlog })) })}</section>
    </div>
    ${figures.moments.length ? html`<ol class="panel moments">${figures.moments.map((one) => html`<li><b>${seconds(one.at_s)}</b> ${one.what}</li>`)}</ol>` : nothing}
    ${figures.tables.map((one) => table(one.title, one.columns.map((name, at) => [name, at > 0]), one.rows))}
    <section class="panel"><h2>What was seen</h2><ul class="story">${figures.story.map(told)}</ul></section>`;
}

// --- The frame ---

const VIEWS = { sale, stress, regions };

let snapshot = null;
let connected = false;

const frame = () => html`
  <header class="top"><div class="top-in"><span class="brand"><img src="icon.svg" alt="" width="34" height="34" /><span>Perks</span></span>
    ${snapshot ? html`<div class="top-end"><span class="tag stage ${snapshot.stage}">${STAGES[snapshot.stage]}</span><span class="meta n">${seconds(snapshot.elapsed_s)}</span></div>` : nothing}</div></header>
  ${over() || connected ? nothing : html`<p class="banner" role="status">No connection to the drill. Trying again; if it was stopped, this is the last that it said.</p>`}
  <main id="main" tabindex="-1">
    <h1>${snapshot ? TITLES[snapshot.drill] : 'A drill'}</h1>
    <p class="lead says" role="status">${snapshot?.says ?? ''}</p>
    ${snapshot ? VIEWS[snapshot.drill](snapshot.figures) : nothing}
  </main>`;

const over = () => snapshot?.stage === 'done' || snapshot?.stage === 'failed';

let due = false;

/** Paint before the next frame, once however many snapshots came; a page that nobody sees waits until it is seen. */
function draw() {
  if (due) return;
  due = true;
  requestAnimationFrame(() => {
    due = false;
    const root = document.getElementById('app');
    render(frame(), root);
    root.removeAttribute('aria-busy');
    document.title = snapshot ? `${STAGES[snapshot.stage]}: ${TITLES[snapshot.drill]}` : 'A drill';
  });
}

document.querySelector('.skip').addEventListener('click', (event) => {
  event.preventDefault();
  document.getElementById('main').focus();
});

const source = new EventSource('snapshots');
source.addEventListener('open', () => {
  connected = true;
  draw();
});
source.addEventListener('error', () => {
  connected = false;
  draw();
});
source.addEventListener('message', (event) => {
  snapshot = JSON.parse(event.data);
  // The drill has ended, and its server with it: to ask again would be in vain.
  if (over()) source.close();
  draw();
});
