/** The shop's page: who is signed in, which page the address asks for, and the frame around it. */
import { render } from './vendor/lit-html/lit-html.js';
import { NoAnswer, Offline, get, signInWith } from './api.js';
import * as checkout from './checkout.js';
import { number } from './format.js';
import * as cart from './pages/cart.js';
import * as catalogue from './pages/catalogue.js';
import * as item from './pages/item.js';
import * as orderPage from './pages/order.js';
import * as orders from './pages/orders.js';
import { signInDialog, signInPage } from './pages/signin.js';
import { isHealthy, loadConfig, otherRegions, region, regions, useRegion } from './regions.js';
import { SignedOut, resume, signOut } from './session.js';
import { readCart } from './shopper.js';
import { announce, draw, paintWith, state } from './store.js';
import { drawDialogs, empty, explain, fault, html, icon, nothing, openDialog, points, skeleton, toShop } from './ui.js';
import { words } from './words.js';

const ROUTES = [
  [/^\/$/, catalogue, 'shop'],
  [/^\/item\/([0-9a-f-]{36})$/, item, 'shop'],
  [/^\/cart$/, cart, 'cart'],
  [/^\/orders$/, orders, 'orders'],
  [/^\/orders\/([0-9a-f-]{36})$/, orderPage, 'orders'],
];
/** Pages that are loaded when they are first asked for; those of the staff by nobody else. */
const LATER = [
  [/^\/account$/, () => import('./pages/account.js')],
  [/^\/staff\/operations$/, () => import('./staff/operations.js')],
  [/^\/staff\/orders(?:\/([0-9a-f-]{36}))?$/, () => import('./staff/story.js')],
  [/^\/staff\/items$/, () => import('./staff/items.js')],
  [/^\/staff\/items\/(new|[0-9a-f-]{36})$/, () => import('./staff/item.js')],
  [/^\/staff\/customers(?:\/([0-9a-f-]{36}))?$/, () => import('./staff/customers.js')],
];
const STAFF_STYLES = 'staff/staff.css';
const SAID = 'rewards.said';
const LOST = { title: () => words.notFound.title, enter: async () => {}, view: () => empty({ sign: 'shop', ...words.notFound, action: toShop, whole: true }) };

const FORBIDDEN = { ...LOST, title: () => words.forbidden.title, view: () => empty({ sign: 'account', ...words.forbidden, action: toShop, whole: true }) };

const COMING = { ...LOST, title: () => words.loading, view: () => skeleton(3, 'lines') };

let page = COMING;
let section = null;

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
    <a class="brand" href="#/"><svg viewBox="0 0 32 32" aria-hidden="true"><rect width="32" height="32" rx="9" /><path d="M16 6.5l2.9 6 6.600.9-4.8 4.6 1.200 6.500-5.900-3.100-5.900 3.100 1.200-6.500-4.800-4.600 6.600-.9z" /></svg><span>${words.shop}</span></a>
    ${state.user ? html`${nav()}<div class="top-end">${choice()}
      <a class="wallet" href="#/account" aria-label=${words.balance(number(state.balance ?? 0))}>${state.balance === null ? html`<span class="bone line"></span>` : points(state.balance)}</a>
      <button type="button" class="button plain small" @click=${() => leaveShop(words.signIn.signedOut)} aria-label=${words.signIn.out}>${icon('out')}</button></div>` : html`<div class="top-end">${choice()}</div>`}
  </div></header>
  ${state.offline ? html`<p class="banner" role="status">${words.offline}</p>` : nothing}
  <main id="main" tabindex="-1" class=${state.user ? '' : 'bare'}>
    ${state.notice ? html`<div class="panel notice"><p>${state.notice.text}</p><button type="button" class="button plain small" @click=${() => { state.notice = null; draw(); }}>${words.close}</button></div>` : nothing}
    ${state.user ? html`${cart.pending()}${page.view()}` : signInPage(welcome)}
  </main>`;

paintWith(() => {
  const root = document.getElementById('app');
  render(frame(), root);
  root.removeAttribute('aria-busy');
  document.title = `${state.user ? page.title() : words.signIn.title} · ${words.shop}`;
  drawDialogs();
});

// --- Where the page is ---

async function route({ focus = true } = {}) {
  const [path, query] = (location.hash.slice(1) || '/').split('?');
  let [pattern, next, name] = ROUTES.find(([one]) => one.test(path)) ?? [/^/, LOST, null];
  const later = LATER.find(([one]) => one.test(path));
  if (later) {
    const asked = location.hash;
    [pattern, next, name] = [later[0], ...(await loadLater(path, later[1]))];
    if (location.hash !== asked) return; // somebody has gone on meanwhile
  }
  const moved = page !== next || next === item || next === orderPage || name === 'staff';
  if (page !== next) page.leave?.();
  state.fromShelf = page === catalogue;
  [page, section] = [next, name];
  const entered = page.enter(path.match(pattern).slice(1), new URLSearchParams(query));
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

/** A page that comes later, and its section; the staff's say to others that they are not for them, and nothing is loaded. */
async function loadLater(path, load) {
  const forStaff = /^\/staff\//.test(path);
  if (forStaff && !isStaff()) return [FORBIDDEN, null];
  try {
    const [module] = await Promise.all([load(), forStaff ? styles(STAFF_STYLES) : null]);
    module.afterErasure?.(() => leaveShop(words.account.erased));
    return [module, forStaff ? 'staff' : 'account'];
  } catch {
    return [{ ...LOST, view: () => fault(new NoAnswer(), () => location.reload()) }, null];
  }
}

function styles(href) {
  if (document.querySelector(`link[href="${href}"]`)) return null;
  const link = Object.assign(document.createElement('link'), { rel: 'stylesheet', href });
  return new Promise((done, failed) => {
    link.onload = done;
    link.onerror = () => { link.remove(); failed(); };
    document.head.append(link);
  });
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
  if (checkout.takeUp()) cart.finish();
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
  asking ??= openDialog(signInDialog, { label: words.signIn.again }).then((user) => {
    asking = null;
    if (user?.username === state.user.username) return;
    leaveShop(words.signIn.signedOut);
    throw new SignedOut();
  });
  return asking;
});

async function change(next) {
  useRegion(next);
  state.notice = null;
  catalogue.forget();
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

/** Nobody is signed in yet: where this Region cannot serve and another can, they sign in there. */
async function startWhereItIsHealthy() {
  const here = region();
  if (regions.length < 2 || (await isHealthy(here))) return;
  for (const next of otherRegions([here])) {
    if (!(await isHealthy(next))) continue;
    if (state.user || region() !== here) return; // meanwhile somebody chose
    useRegion(next);
    state.notice = { kind: 'warning', text: words.regions.lost(here.name, next.name) };
    announce(state.notice.text);
    draw();
    return;
  }
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
    draw();
    return;
  }
  let user = null;
  try {
    user = await resume();
  } catch (error) {
    if (!(error instanceof SignedOut)) state.notice = { kind: 'warning', text: words.signIn.noAnswer(region().name) };
  }
  if (user) await welcome(user, { focus: false });
  else {
    draw();
    startWhereItIsHealthy();
  }
  const said = sessionStorage.getItem(SAID);
  sessionStorage.removeItem(SAID);
  if (said) announce(said);
}

start();
