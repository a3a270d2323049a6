/** Numbers and times in the browser's own language; the words around them are words.js's. */
const language = navigator.languages?.[0] ?? navigator.language;

const plain = new Intl.NumberFormat(language);
const withSign = new Intl.NumberFormat(language, { signDisplay: 'exceptZero' });
const day = new Intl.DateTimeFormat(language, { dateStyle: 'medium' });
const moment = new Intl.DateTimeFormat(language, { dateStyle: 'medium', timeStyle: 'short' });
const clock = new Intl.DateTimeFormat(language, { timeStyle: 'medium' });

export const number = (value) => plain.format(value);
export const signed = (value) => withSign.format(value);
export const onDay = (iso) => day.format(new Date(iso));
export const atTime = (iso) => moment.format(new Date(iso));
export const atClock = (iso) => clock.format(new Date(iso));
export const usd = (text) => new Intl.NumberFormat(language, { style: 'currency', currency: 'USD' }).format(text);
export const decimal = (value) => new Intl.NumberFormat(language, { maximumFractionDigits: 2 }).format(value);
export const utc = (iso) => new Date(iso).toISOString().replace('T', ' ').slice(0, 19) + ' UTC';
