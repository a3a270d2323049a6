/** The page's start: the frame, who was signed in, and the entrance for whoever was not. The shop follows for who is in. */
import { render } from './vendor/lit-html/lit-html.js';
import { NoAnswer, Offline } from './faults.js';
import { loadConfig, region, regions, useRegion } from './regions.js';
import { SignedOut, isKept, resume } from './session.js';
import { announce, draw, paintWith, state } from './store.js';
import { fault, html, nothing } from './ui.js';
import { words } from './words/frame.js';

export const QUIET_MS = 1000; // after a page has what it asked for
/** Where sessionStorage keeps what is to be said after a reload. */
export const SAID = 'rewards.said';
/** What signs people in: what loads it, and its styles. */
export const SIGN_IN = [() => import('./pages/signin.js'), ['pages/signin.css']];
const SHOP = [() => import('./shop.js'), ['pages/shop.css']];

// --- The frame ---

let entrance = () => nothing;

/** What the frame is filled with; `change(region)` is what follows a choice of Region. */
let filling = {
  title: () => words.signIn.title, busy: () => false, nav: () => nothing, end: () => nothing, change: () => {},
  content: () => entrance(welcome),
};

/** Have the frame show something else from now on. */
export function fill(next) {
  filling = next;
  draw();
}

function choose(next) {
  useRegion(next);
  state.notice = null;
  announce(words.regions.now(next.name));
  draw();
  filling.change();
}

const choice = () => (regions.length < 2 ? nothing : html`<label class="region"><span class="dot" aria-hidden="true"></span><span class="hidden">${words.regions.label}</span>
  <select @change=${(event) => choose(regions[event.target.selectedIndex])}>${regions.map((one) => html`<option ?selected=${one === region()} .selected=${one === region()}>${one.name}</option>`)}</select></label>`);

const frame = () => html`
  <header class="top"><div class="top-in">
    <a class="brand" href="#/"><img src="icon.svg" alt="" width="34" height="34" /><span>${words.shop}</span></a>
    ${filling.nav()}<div class="top-end">${choice()}${filling.end()}</div>
  </div></header>
  ${state.offline ? html`<p class="banner" role="status">${words.offline}</p>` : nothing}
  <main id="main" tabindex="-1" aria-busy=${filling.busy() ? 'true' : nothing} class=${state.user ? '' : 'bare'}>
    ${state.notice ? html`<div class="panel notice"><p>${state.notice}</p><button type="button" class="button plain small" @click=${() => { state.notice = null; draw(); }}>${words.close}</button></div>` : nothing}
    ${filling.content()}
  </main>`;

paintWith(() => {
  const root = document.getElementById('app');
  render(frame(), root);
  root.removeAttribute('aria-busy');
  document.title = `${filling.title()} · ${words.shop}`;
});

for (const offline of [true, false]) {
  addEventListener(offline ? 'offline' : 'online', () => {
    state.offline = offline;
    announce(offline ? words.offline : words.online);
    draw();
  });
}

// --- What comes when it is needed ---

/** Load a module and its styles. */
export async function load([module, hrefs]) {
  const [loaded] = await Promise.all([module(), ...hrefs.map(styles)]);
  return loaded;
}

const sheets = new Map();

function styles(href) {
  if (!sheets.has(href)) {
    sheets.set(href, new Promise((done, failed) => {
      const link = Object.assign(document.createElement('link'), { rel: 'stylesheet', href });
      link.onload = done;
      link.onerror = () => { link.remove(); sheets.delete(href); failed(new NoAnswer()); };
      document.head.append(link);
    }));
  }
  return sheets.get(href);
}

// --- Who is there ---

/** Somebody has signed in, or was still: show them the shop. */
async function welcome(user, options) {
  const shop = await load(SHOP);
  shop.welcome(user, options);
}

async function showEntrance() {
  try {
    const { signInPage, startWhereItIsHealthy } = await load(SIGN_IN);
    entrance = signInPage;
    if (!state.failed) startWhereItIsHealthy();
    setTimeout(() => load(SHOP).catch(() => {}), QUIET_MS);
  } catch {
    unloadable();
  }
  draw();
}

function unloadable() {
  entrance = () => html`<h1 class="hidden">${words.signIn.title}</h1>${fault(new NoAnswer(), () => location.reload())}`;
  draw();
}

async function start() {
  const skip = document.querySelector('.skip');
  skip.textContent = words.skip;
  skip.addEventListener('click', (event) => {
    event.preventDefault(); // the part after # is the page's own address
    document.getElementById('main').focus();
  });
  try {
    await loadConfig();
  } catch (error) {
    state.failed = error instanceof TypeError ? new Offline() : [words.missing, ''];
    showEntrance();
    return;
  }
  let user = null;
  try {
    if (isKept()) load(SHOP).catch(() => {}); // while the session is renewed
    user = await resume();
  } catch (error) {
    if (!(error instanceof SignedOut)) state.notice = words.signIn.noAnswer(region().name);
  }
  if (user) await welcome(user, { focus: false }).catch(unloadable);
  else showEntrance();
  const said = sessionStorage.getItem(SAID);
  sessionStorage.removeItem(SAID);
  if (said) announce(said);
}

start();
