/** The shop's page: who is signed in, which page the address asks for, and the frame around it. */
import { render } from './vendor/lit-html/lit-html.js';
import { NoAnswer, Offline, get, signInWith } from './api.js';
import { number } from './format.js';
import { loadConfig, region, regions, useRegion } from './regions.js';
import { SignedOut, resume, signOut } from './session.js';
import { readCart } from './shopper.js';
import { UNFINISHED, announce, draw, paintWith, state } from './store.js';
import { empty, explain, fault, html, icon, nothing, points, toShop } from './ui.js';
import { words } from './words/frame.js';

/** Styles beyond shop.css, which has those of the first pages. */
const MORE = ['pages/more.css'];

/** By address: the section, what loads the page, and its styles. Each is loaded when it is first shown, or in a quiet moment. */
const ROUTES = [
  [/^\/$/, 'shop', () => import('./pages/catalogue.js'), ['pages/shelf.css']],
  [/^\/item\/([0-9a-f-]{36})$/, 'shop', () => import('./pages/item.js'), MORE],
  [/^\/cart$/, 'cart', () => import('./pages/cart.js'), MORE],
  [/^\/orders$/, 'orders', () => import('./pages/orders.js'), MORE],
  [/^\/orders\/([0-9a-f-]{36})$/, 'orders', () => import('./pages/order.js'), MORE],
  [/^\/account$/, 'account', () => import('./pages/account.js'), MORE],
];
const SIGN_IN = [null, null, () => import('./pages/signin.js'), ['pages/signin.css']];
const QUIET_MS = 1000; // after the first page has what it asked for
const SAID = 'rewards.said';
const LOST = { title: () => words.notFound.title, enter: async () => {}, view: () => empty({ sign: 'shop', ...words.notFound, action: toShop, whole: true }) };

const FORBIDDEN = { ...LOST, title: () => words.forbidden.title, view: () => empty({ sign: 'account', ...words.forbidden, action: toShop, whole: true }) };

const COMING = { ...LOST, title: () => words.loading, view: () => nothing };

let page = COMING;
let section = null;
let at = null; // the address of the page
let coming = false; // another page is being loaded
let entrance = () => nothing; // what somebody sees who is not signed in
let pending = () => nothing; // what the cart's page has every page say
let forgetShelf = () => {};

// --- The frame ---

const badge = () => (state.cart?.unit_count ? html`<span class="badge" aria-hidden="true">${number(state.cart.unit_count)}</span><span class="hidden">, ${words.badge(number(state.cart.unit_count))}</span>` : nothing);

const NAV = { shop: '#/', cart: '#/cart', orders: '#/orders', account: '#/account' };

const isStaff = () => state.user.groups.includes('staff');

const nav = () => html`<nav class="nav" aria-label=${words.nav.label}><ul>${Object.entries(isStaff() ? { ...NAV, staff: '#/staff/operations' } : NAV).map(([name, href]) => html`
  <li><a href=${href} aria-current=${section === name ? 'page' : nothing}>${icon(name)}<span>${words.nav[name]}</span>${name === 'cart' ? badge() : nothing}</a></li>`)}</ul></nav>`;

const choice = () => (regions.length < 2 ? nothing : html`<label class="region"><span class="dot" aria-hidden="true"></span><span class="hidden">${words.regions.label}</span>
  <select @change=${(event) => change(regions[event.target.selectedIndex])}>${regions.map((one) => html`<option ?selected=${one === region()} .selected=${one === region()}>${one.name}</option>`)}</select></label>`);

const frame = () => html`
  <header class="top"><div class="top-in">
    <a class="brand" href="#/"><img src="icon.svg" alt="" width="34" height="34" /><span>${words.shop}</span></a>
    ${state.user ? html`${nav()}<div class="top-end">${choice()}
      <a class="wallet" href="#/account" aria-label=${words.balance(number(state.balance ?? 0))}>${state.balance === null ? html`<span class="bone line"></span>` : points(state.balance)}</a>
      <button type="button" class="button plain small" @click=${() => leaveShop(words.signIn.signedOut)} aria-label=${words.signIn.out}>${icon('out')}</button></div>` : html`<div class="top-end">${choice()}</div>`}
  </div></header>
  ${state.offline ? html`<p class="banner" role="status">${words.offline}</p>` : nothing}
  <main id="main" tabindex="-1" aria-busy=${coming ? 'true' : nothing} class=${state.user ? '' : 'bare'}>
    ${state.notice ? html`<div class="panel notice"><p>${state.notice.text}</p><button type="button" class="button plain small" @click=${() => { state.notice = null; draw(); }}>${words.close}</button></div>` : nothing}
    ${state.user ? html`${pending()}${page.view()}` : entrance(welcome)}
  </main>`;

paintWith(() => {
  const root = document.getElementById('app');
  render(frame(), root);
  root.removeAttribute('aria-busy');
  document.title = `${state.user ? page.title() : words.signIn.title} · ${words.shop}`;
});

// --- Where the page is ---

async function route({ focus = true } = {}) {
  const asked = location.hash;
  const [path, query] = (asked.slice(1) || '/').split('?');
  coming = true;
  draw();
  const { next, name = null, given = [] } = await pageAt(path);
  if (location.hash !== asked) return; // somebody has gone on meanwhile
  coming = false;
  const moved = page !== next || path !== at;
  if (page !== next) page.leave?.();
  state.fromShelf = at === '/';
  [page, section, at] = [next, name, path];
  const entered = page.enter(given, new URLSearchParams(query));
  draw();
  if (moved && focus) {
    scrollTo(0, 0);
    await Promise.resolve();
    focusTitle();
  }
  await entered;
  // The title may have come only with what was read.
  if (moved && focus && document.activeElement === document.body) focusTitle();
}

/** The page of an address, its section, and what the address gives it. The staff's is loaded for nobody else. */
async function pageAt(path) {
  const ofStaff = path.startsWith('/staff/');
  if (ofStaff && !isStaff()) return { next: FORBIDDEN };
  try {
    const routes = ofStaff ? await staffRoutes() : ROUTES;
    const found = routes.find(([pattern]) => pattern.test(path));
    return found ? { next: await load(found), name: found[1], given: found[0].exec(path).slice(1) } : { next: LOST };
  } catch {
    return { next: { ...LOST, view: () => fault(new NoAnswer(), () => location.reload()) } };
  }
}

const staffRoutes = async () => (await import('./staff/routes.js')).ROUTES.map(([pattern, module]) => [pattern, 'staff', module, [...MORE, 'staff/staff.css']]);

async function load([, , module, hrefs]) {
  const [loaded] = await Promise.all([module(), ...hrefs.map(styles)]);
  loaded.afterErasure?.(leaveShop);
  if (loaded.pending) ({ pending } = loaded);
  if (loaded.forget) forgetShelf = loaded.forget;
  return loaded;
}

/** Load what a customer may open next, while nothing is waited for: then a lost connection takes no page away. */
const loadTheRest = () => Promise.all([load(SIGN_IN), import('./words/problems.js'), ...ROUTES.map(load)]).catch(() => {});

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

const focusTitle = () => (document.querySelector('main h1') ?? document.getElementById('main'))?.focus({ preventScroll: true });

addEventListener('hashchange', () => {
  if (state.user) route();
});

// --- Who is there ---

/** Somebody has signed in, or was still: show them the shop. */
async function welcome(user, options) {
  state.user = { ...user, name: user.username };
  const read = Promise.all([
    readCart(),
    get('/account').then((one) => { state.user.name = one.first_name || user.username; }),
  ]).catch(() => {});
  await route(options);
  await read;
  draw();
  if (sessionStorage.getItem(UNFINISHED)) await finish();
  setTimeout(loadTheRest, QUIET_MS);
}

/** See an order to its end that was under way when the page was loaded. */
async function finish() {
  try {
    (await load(ROUTES.find(([pattern]) => pattern.test('/cart')))).takeUp();
  } catch {
    state.notice = { kind: 'warning', text: words.unfinished };
    draw();
  }
}

/** Sign out, and load the page anew: nothing that was read stays in its memory. `said` is shown afterwards. */
function leaveShop(said) {
  signOut();
  sessionStorage.clear();
  sessionStorage.setItem(SAID, said);
  history.replaceState(null, '', location.pathname);
  location.reload();
}

let asking = null;

signInWith(() => {
  asking ??= Promise.all([load(SIGN_IN), ...MORE.map(styles)]).catch(() => Promise.reject(new NoAnswer())).then(([module]) => module.signInAgain()).finally(() => { asking = null; }).then((user) => {
    if (user?.username === state.user.username) return;
    leaveShop(words.signIn.signedOut);
    throw new SignedOut();
  });
  return asking;
});

async function change(next) {
  useRegion(next);
  state.notice = null;
  forgetShelf();
  announce(words.regions.now(next.name));
  draw();
  if (!state.user) return;
  await readCart().catch((error) => announce(explain(error)[0]));
  route({ focus: false });
}

addEventListener('offline', () => {
  state.offline = true;
  announce(words.offline);
  draw();
});

addEventListener('online', () => {
  state.offline = false;
  announce(words.online);
  draw();
  if (!state.user) return;
  readCart().catch(() => {});
  // A page that was being filled in is left as it is.
  if (section !== 'account' && section !== 'staff') route({ focus: false });
});

async function showEntrance() {
  try {
    const { signInPage, startWhereItIsHealthy } = await load(SIGN_IN);
    entrance = signInPage;
    if (!state.failed) startWhereItIsHealthy();
  } catch {
    entrance = () => fault(new NoAnswer(), () => location.reload());
  }
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
    user = await resume();
  } catch (error) {
    if (!(error instanceof SignedOut)) state.notice = { kind: 'warning', text: words.signIn.noAnswer(region().name) };
  }
  if (user) await welcome(user, { focus: false });
  else showEntrance();
  const said = sessionStorage.getItem(SAID);
  sessionStorage.removeItem(SAID);
  if (said) announce(said);
}

start();
