/** What pages are put together from. Everything is text to lit-html: nothing that somebody typed becomes HTML. */
import { html, nothing, svg } from './vendor/lit-html/lit-html.js';
import { NoAnswer, Offline, Problem, problems } from './faults.js';
import { announce } from './store.js';
import { words } from './words/frame.js';

export { html, nothing, svg };

/** The signs, drawn in a square of 24: those of the first pages; pages/parts.js adds its own. */
export const PATHS = {
  shop: 'M4 9h16l-1 11H5zM8 9V7a4 4 0 0 1 8 0v2',
  cart: 'M3 4h2.5l2.3 11h9.9l2.3-8H7M9 20.2h.01M17 20.2h.01',
  orders: 'M6 3h12v18l-3-2-3 2-3-2-3 2zM9.5 8.5h5M9.5 12.5h5',
  account: 'M12 12.5a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM4.5 20.5a7.5 7.5 0 0 1 15 0',
  search: 'M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14zM20 20l-4-4',
  plus: 'M12 5v14M5 12h14',
  check: 'M5 12.5l4.5 4.5L19 7.5',
  alert: 'M12 8v5M12 16.5h.01M10.3 4L2.6 18a2 2 0 0 0 1.7 3h15.4a2 2 0 0 0 1.7-3L13.7 4a2 2 0 0 0-3.4 0z',
  out: 'M14 4h5v16h-5M4 12h11M11 8l4 4-4 4',
  staff: 'M4 20V10M10 20V4M16 20v-7M22 20H2',
  star: 'M12 3.6l2.6 5.3 5.8.8-4.2 4.1 1 5.8-5.2-2.7-5.2 2.7 1-5.8-4.2-4.1 5.8-.8z',
};

/** A drawn sign beside a word; to a screen reader the word is enough. */
export const icon = (name) => html`<svg class="icon" viewBox="0 0 24 24" aria-hidden="true">${svg`<path d=${PATHS[name]} />`}</svg>`;

/** A picture of fixed shape; where there is none, or it does not load, a tile with the name's first letter. */
export function picture(url, { name, alt = '', eager = false }) {
  const broken = (event) => event.target.closest('.picture').classList.add('broken');
  return html`<span class="picture" data-hue=${hue(name)}>
    <span class="initial" aria-hidden="true">${[...(name ?? '?')][0]}</span>
    ${url ? html`<img src=${url} alt=${alt} width="320" height="320" loading=${eager ? 'eager' : 'lazy'} decoding="async" @error=${broken} />` : nothing}
  </span>`;
}

const hue = (name) => [...(name ?? '')].reduce((sum, one) => sum + one.codePointAt(0), 0) % 6;

export const button = ({ label, act, name, kind = 'primary', sign, busy = false, off = false, wide = false }) => html`
  <button type="button" class="button ${kind} ${wide ? 'wide' : ''}" aria-label=${name ?? nothing} aria-busy=${busy ? 'true' : nothing}
    ?disabled=${off} @click=${act}>${busy ? html`<span class="spinner"></span>` : sign ? icon(sign) : nothing}<span>${label}</span></button>`;

/** How a thing that went wrong is said: [title, text, instance]. */
export function explain(error) {
  if (error instanceof Offline) return words.fault.offline;
  if (error instanceof NoAnswer) return words.fault.noAnswer;
  if (error instanceof Problem) {
    const [title, text] = problems[error.kind] ?? [error.title || words.fault.ours[0], error.message];
    return [title, text, error.status >= 500 ? error.instance : ''];
  }
  console.error(error);
  return words.fault.ours;
}

/** Copy a text; a browser that lets no page do so leaves it to be selected. */
export const copy = async (text) => {
  try {
    await navigator.clipboard.writeText(text);
    announce(words.fault.copied);
  } catch {
    announce(words.fault.notCopied);
  }
};

/** A fault in the page's place, or within a form. */
export function fault(error, again) {
  const [title, text, instance] = Array.isArray(error) ? error : explain(error);
  return html`<div class="panel fault" role="alert">
    ${icon('alert')}
    <div>
      <p class="strong">${title}</p>
      <p>${text}</p>
      ${instance ? html`<p class="instance">${words.fault.instance} <code>${instance}</code>
        ${button({ label: words.fault.copy, kind: 'small', act: () => copy(instance) })}</p>` : nothing}
      ${again ? button({ label: words.again, kind: 'secondary', act: again }) : nothing}
    </div>
  </div>`;
}

/** What stands where there is nothing to show; `whole` where that is all of the page. */
export const empty = ({ sign, title, text, action, whole = false }) => html`<div class="empty">
  <span class="round">${icon(sign)}</span>${whole ? html`<h1 tabindex="-1">${title}</h1>` : html`<h2>${title}</h2>`}<p>${text}</p>${action}
</div>`;

export const toShop = html`<a class="button primary" href="#/">${words.toShop}</a>`;

/** Grey shapes of the size that what is coming will have. */
export const skeleton = (count, shape) => html`<div class=${shape} aria-busy="true"><span class="hidden">${words.loading}</span>
  ${Array.from({ length: count }, () => html`<div class="bone"></div>`)}</div>`;
