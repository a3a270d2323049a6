/** A small chart by the minute: lines, gaps where nothing is known, the objective dashed. For the ear, its figures in words. */
import { html, nothing, svg } from '../ui.js';
import { number } from '../format.js';
import { words } from './words.js';

const [WIDTH, HEIGHT, EDGE] = [300, 84, 4];
const w = words.operations;

/** The lines of a series: a gap is where no minute has a figure; one minute alone is a dot. */
function lines(values, x, y) {
  const parts = [];
  let part = [];
  for (const [at, value] of [...values, null].entries()) {
    if (value === null) {
      if (part.length) parts.push(part);
      part = [];
    } else part.push([x(at), y(value)]);
  }
  return parts.map((one) => (one.length === 1 ? `M${one[0]}h.01` : `M${one.map((each) => each.join(' ')).join('L')}`)).join('');
}

const say = (value) => (value === null ? w.none : number(Math.round(value)));

/** `series` are those of the answer; the first is the one whose figures are told. */
export function plot(title, series) {
  const values = series.flatMap((one) => one.values).filter((value) => value !== null);
  const objective = series.map((one) => one.objective).find((value) => value !== null) ?? null;
  const top = Math.max(1, ...values, objective ?? 0) * 1.08;
  const count = Math.max(2, ...series.map((one) => one.values.length));
  const x = (at) => Math.round((EDGE + (at / (count - 1)) * (WIDTH - 2 * EDGE)) * 10) / 10;
  const y = (value) => Math.round((HEIGHT - EDGE - (value / top) * (HEIGHT - 2 * EDGE)) * 10) / 10;
  const told = series.map((one) => {
    const known = one.values.filter((value) => value !== null);
    return w.spoken(w.series[one.name], say(known.at(-1) ?? null), say(known.length ? Math.max(...known) : null));
  });
  const label = [title, ...told, objective === null ? '' : w.objective(number(objective))].filter(Boolean).join('. ');
  return html`<figure class="plot"><figcaption><span class="strong">${title}</span>
    ${series.map((one, at) => html`<span class="key k${at}">${w.series[one.name]} <span class="n">${say(one.values.findLast((value) => value !== null) ?? null)}</span></span>`)}
    ${objective === null ? nothing : html`<span class="key ko">${w.objective(number(objective))}</span>`}</figcaption>
    ${series.every((one) => !one.is_measured) ? html`<p class="hint">${w.notMeasured}</p>` : html`<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label=${label} preserveAspectRatio="none">
      ${svg`<path class="base" d="M${EDGE} ${y(0)}H${WIDTH - EDGE}" />`}
      ${objective === null ? nothing : svg`<path class="objective" d="M${EDGE} ${y(objective)}H${WIDTH - EDGE}" />`}
      ${series.map((one, at) => svg`<path class="curve k${at}" d=${lines(one.values, x, y)} />`)}</svg>`}</figure>`;
}
