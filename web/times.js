/** Times, and figures with a sign or a currency, in the browser's own language. */
import { language } from './format.js';
import { html } from './ui.js';

const withSign = new Intl.NumberFormat(language, { signDisplay: 'exceptZero' });
const dollars = new Intl.NumberFormat(language, { style: 'currency', currency: 'USD' });
const day = new Intl.DateTimeFormat(language, { dateStyle: 'medium' });
const moment = new Intl.DateTimeFormat(language, { dateStyle: 'medium', timeStyle: 'short' });
const clock = new Intl.DateTimeFormat(language, { timeStyle: 'medium' });

export const signed = (value) => withSign.format(value);
export const usd = (text) => dollars.format(text);
export const onDay = (iso) => day.format(new Date(iso));
export const atTime = (iso) => moment.format(new Date(iso));
export const atClock = (iso) => clock.format(new Date(iso));
const utc = (iso) => new Date(iso).toISOString().replace('T', ' ').slice(0, 19) + ' UTC';

/** A time as the person's clock has it; UTC for whoever points at it. */
export const time = (iso, say = atTime) => html`<time datetime=${iso} title=${utc(iso)}>${say(iso)}</time>`;

/** The part of an id that people say to each other. */
export const short = (id) => id.slice(0, 8);
