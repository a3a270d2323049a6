/** The shop, for whoever is signed in: which page the address asks for, and what the frame says around it. */
import { get, signInWith } from './api.js';
import { NoAnswer } from './faults.js';
import { number } from './format.js';
import { SignedOut, signOut } from './session.js';
import { points, readCart } from './shopper.js';
import { QUIET_MS, SAID, SIGN_IN, fill, load } from './start.js';
import { UNFINISHED, announce, draw, state } from './store.js';
import { empty, explain, fault, html, icon, nothing, toShop } from './ui.js';
import { words } from './words/frame.js';
import { words as own } from './words/shop.js';

/** Styles beyond those of the shelf, which come with this module. */
const MORE = ['pages/more.css'];

/** By address: the section, what loads the page, and its styles. Each comes when it is first shown, or in a quiet moment. */
const ROUTES = [
  [/^\/$/, 'shop', () => import('./pages/catalogue.js'), []],
  [/^\/item\/([0-9a-f-]{36})$/, 'shop', () => import('./pages/item.js'), MORE],
  [/^\/cart$/, 'cart', () => import('./pages/cart.js'), MORE],
  [/^\/orders$/, 'orders', () => import('./pages/orders.js'), MORE],
  [/^\/orders\/([0-9a-f-]{36})$/, 'orders', () => import('./pages/order.js'), MORE],
  [/^\/account$/, 'account', () => import('./pages/account.js'), MORE],
];
const LOST = { title: () => words.notFound.title, enter: async () => {}, view: () => empty({ sign: 'shop', ...words.notFound, action: toShop, whole: true }) };
const FORBIDDEN = { ...LOST, title: () => own.forbidden.title, view: () => empty({ sign: 'account', ...own.forbidden, action: toShop, whole: true }) };
const COMING = { ...LOST, title: () => words.loading, view: () => nothing };

let page = COMING;
let section = null;
let at = null; // the address of the page
let coming = false; // another page is being loaded
let pending = () => nothing; // what the cart's page has every page say
let forgetShelf = () => {};

// --- What the frame says ---

const badge = () => (state.cart?.unit_count ? html`<span class="badge" aria-hidden="true">${number(state.cart.unit_count)}</span><span class="hidden">, ${own.badge(state.cart.unit_count)}</span>` : nothing);

const NAV = { shop: '#/', cart: '#/cart', orders: '#/orders', account: '#/account' };

const isStaff = () => state.user.groups.includes('staff');

const nav = () => html`<nav class="nav" aria-label=${own.nav.label}><ul>${Object.entries(isStaff() ? { ...NAV, staff: '#/staff/operations' } : NAV).map(([name, href]) => html`
  <li><a href=${href} aria-current=${section === name ? 'page' : nothing}>${icon(name)}<span>${own.nav[name]}</span>${name === 'cart' ? badge() : nothing}</a></li>`)}</ul></nav>`;

const purse = () => html`
  <a class="wallet" href="#/account" aria-label=${own.balance(number(state.balance ?? 0))}>${state.balance === null ? html`<span class="bone line"></span>` : points(state.balance)}</a>
  <button type="button" class="button plain small" @click=${() => leaveShop(words.signIn.signedOut)} aria-label=${words.signIn.out}>${icon('out')}</button>`;

const FILLING = {
  title: () => page.title(), busy: () => coming, nav, end: purse, change: changeRegion,
  content: () => html`${pending()}${page.view()}`,
};

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
    return found ? { next: await open(found), name: found[1], given: found[0].exec(path).slice(1) } : { next: LOST };
  } catch {
    return { next: { ...LOST, title: () => words.fault.noAnswer[0], view: () => html`<h1 class="hidden">${words.fault.noAnswer[0]}</h1>${fault(new NoAnswer(), () => location.reload())}` } };
  }
}

const staffRoutes = async () => (await import('./staff/routes.js')).ROUTES.map(([pattern, module]) => [pattern, 'staff', module, [...MORE, 'staff/staff.css']]);

async function open([, , module, hrefs]) {
  const loaded = await load([module, hrefs]);
  loaded.afterErasure?.(leaveShop);
  if (loaded.pending) ({ pending } = loaded);
  if (loaded.forget) forgetShelf = loaded.forget;
  return loaded;
}

/** Load what a customer may open next, while nothing is waited for: then a lost connection takes no page away. */
const openTheRest = () => Promise.all([load(SIGN_IN), import('./words/problems.js'), ...ROUTES.map(open)]).catch(() => {});

const focusTitle = () => (document.querySelector('main h1') ?? document.getElementById('main'))?.focus({ preventScroll: true });

// --- Who is there ---

/** Somebody has signed in, or was still: show them the shop. */
export async function welcome(user, options) {
  state.user = { ...user, name: user.username };
  fill(FILLING);
  addEventListener('hashchange', () => route());
  addEventListener('online', isOnline);
  const read = Promise.all([
    readCart(),
    get('/account').then((one) => { state.user.name = one.first_name || user.username; }),
  ]).catch(() => {});
  await route(options);
  await read;
  draw();
  if (sessionStorage.getItem(UNFINISHED)) await finish();
  setTimeout(openTheRest, QUIET_MS);
}

/** See an order to its end that was under way when the page was loaded. */
async function finish() {
  try {
    (await open(ROUTES.find(([pattern]) => pattern.test('/cart')))).takeUp();
  } catch {
    state.notice = own.unfinished;
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
  asking ??= load([SIGN_IN[0], [...SIGN_IN[1], ...MORE]]).catch(() => Promise.reject(new NoAnswer()))
    .then((module) => module.signInAgain()).finally(() => { asking = null; }).then((user) => {
      if (user?.username === state.user.username) return;
      leaveShop(words.signIn.signedOut);
      throw new SignedOut();
    });
  return asking;
});

async function changeRegion() {
  forgetShelf();
  await readCart().catch((error) => announce(explain(error)[0]));
  route({ focus: false });
}

function isOnline() {
  readCart().catch(() => {});
  // A page that was being filled in is left as it is.
  if (section !== 'account' && section !== 'staff') route({ focus: false });
}
