/** Numbers in the browser's own language; times.js has times and what else few pages say. */
export const language = navigator.languages?.[0] ?? navigator.language;

const plain = new Intl.NumberFormat(language);
const fine = new Intl.NumberFormat(language, { maximumFractionDigits: 2 });

export const number = (value) => plain.format(value);
export const decimal = (value) => fine.format(value);
/** A number with the word for one, or for another number. */
export const plural = (value, one, many) => `${number(value)} ${value === 1 ? one : many}`;
