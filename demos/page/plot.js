/** Plots as SVG: shapes by attributes, colours by classes, and in words for those who do not see them. */
import { html, nothing, svg } from './vendor/lit-html/lit-html.js';
import { decimal, number } from './format.js';

const [WIDTH, HEIGHT] = [640, 180];
const [LEFT, RIGHT, TOP, BOTTOM] = [56, 8, 18, 24];

/** A round figure at or above the highest: 1, 2 or 5 times a power of ten. */
function ceiling(highest) {
  if (highest <= 1) return 1;
  const power = 10 ** Math.floor(Math.log10(highest));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= highest);
}

const down = (value, top) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / top);

const frame = (label, top, shapes, ticks) => html`<svg class="plot" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label=${label}>
  ${[0, top / 2, top].map((value) => svg`<line class="grid-line" x1=${LEFT} x2=${WIDTH - RIGHT} y1=${down(value, top)} y2=${down(value, top)} />
    <text class="tick end" x=${LEFT - 8} y=${down(value, top) + 4}>${decimal(value)}</text>`)}
  ${shapes}${ticks}
</svg>`;

/** The series' names with the signs of their lines; nothing for a single one. */
const legend = (series) => (series.length < 2 ? nothing : html`<ul class="legend" aria-hidden="true">${series.map((one, place) => html`
  <li><svg class="sample" viewBox="0 0 24 8"><line class="series s${place}" x1="1" x2="23" y1="4" y2="4" /></svg>${one.name}</li>`)}</ul>`);

/** The stretches of a series without a gap, as points; null is a gap. */
function stretches(values, across, top) {
  const found = [[]];
  values.forEach((value, at) => (value === null ? found.push([]) : found.at(-1).push(`${across(at)},${down(value, top)}`)));
  return found.filter((one) => one.length);
}

/**
 * Lines over seconds. `series` is [{name, values}], a value a second; `moments` are [{at_s, what}], drawn upright.
 * `unit` says what is counted.
 */
export function lines({ title, unit, series, moments = [] }) {
  const seconds = Math.max(2, ...series.map((one) => one.values.length));
  const highest = Math.max(1, ...series.flatMap((one) => one.values.filter((value) => value !== null)));
  const top = ceiling(highest);
  const across = (at) => LEFT + ((WIDTH - LEFT - RIGHT) * at) / (seconds - 1);
  const said = series.map((one) => {
    const known = one.values.filter((value) => value !== null);
    return `${one.name}: now ${number(known.at(-1) ?? 0)}, at most ${number(Math.max(0, ...known))}`;
  });
  const label = `${title}, ${unit}. ${said.join('; ')}.`;
  return html`<figure class="figure"><figcaption>${title} <span class="meta">${unit}</span></figcaption>${legend(series)}
    ${frame(label, top, svg`
      ${moments.map((one, place) => svg`<line class="moment" x1=${across(one.at_s)} x2=${across(one.at_s)} y1=${TOP - 6} y2=${HEIGHT - BOTTOM} />
        <text class="tick mid strong" x=${across(one.at_s)} y=${TOP - 8}>${place + 1}</text>`)}
      ${series.map((one, place) => stretches(one.values, across, top).map((points) => svg`<polyline class="series s${place}" points=${points.join(' ')} />`))}`, svg`
      <text class="tick" x=${LEFT} y=${HEIGHT - 6}>0 s</text>
      <text class="tick end" x=${WIDTH - RIGHT} y=${HEIGHT - 6}>${number(seconds - 1)} s</text>`)}</figure>`;
}

/** Bars side by side: `bars` is [{name, values}], a value for each series. */
export function bars({ title, unit, series, bars: all }) {
  const top = ceiling(Math.max(1, ...all.flatMap((one) => one.values)));
  const room = (WIDTH - LEFT - RIGHT) / all.length;
  const each = (room * 0.8) / Math.max(1, series.length);
  const most = series.map((name, place) => `${name}: most at ${all.reduce((best, one) => (one.values[place] > best.values[place] ? one : best)).name}`);
  return html`<figure class="figure"><figcaption>${title} <span class="meta">${unit}</span></figcaption>${legend(series.map((name) => ({ name })))}
    ${frame(`${title}, ${unit}. ${most.join('; ')}.`, top, all.map((one, at) => one.values.map((value, place) => svg`
      <rect class="bar s${place}" x=${LEFT + room * at + room * 0.1 + each * place} width=${each} y=${down(value, top)} height=${HEIGHT - BOTTOM - down(value, top)} />`)),
    all.map((one, at) => svg`<text class="tick mid" x=${LEFT + room * (at + 0.5)} y=${HEIGHT - 6}>${one.name}</text>`))}</figure>`;
}
