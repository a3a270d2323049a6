/** Signing in: the whole page before, and a dialog over it when a session ends in the middle of something. */
import { demo, otherRegions, region, regions, useRegion } from '../regions.js';
import { SignInRefused } from '../session.js';
import { announce, draw, state } from '../store.js';
import { fault, html, icon, nothing } from '../ui.js';
import { words } from '../words/frame.js';
import { words as w } from '../words/signin.js';

let error = null;
let busy = false;
let asked = null; // what is asked beside the password: {challenge, give}

const REFUSALS = {
  NotAuthorizedException: w.wrong,
  UserNotFoundException: w.wrong,
  InvalidParameterException: w.wrong,
  TooManyRequestsException: w.limit,
  LimitExceededException: w.limit,
  PasswordResetRequiredException: w.reset,
  InvalidPasswordException: w.asked.NEW_PASSWORD_REQUIRED.wrong,
  CodeMismatchException: w.asked.SOFTWARE_TOKEN_MFA.wrong,
  ExpiredCodeException: w.asked.SOFTWARE_TOKEN_MFA.wrong,
};

/** Ask for a new password or a code; promises what is typed. */
const ask = (challenge, refused) => new Promise((give) => {
  asked = { challenge, give };
  error = refused ? { text: REFUSALS[refused.code] } : null;
  busy = false;
  draw();
  document.querySelector('form input[name=answer]')?.focus();
});

function answer(event) {
  event.preventDefault();
  if (busy) return;
  const { give } = asked;
  busy = true;
  error = null;
  draw();
  give(event.target.elements.answer.value.trim());
}

async function submit(event, done) {
  event.preventDefault();
  if (busy) return;
  const form = event.target;
  const { username, password } = Object.fromEntries(new FormData(form));
  busy = true;
  error = null;
  draw();
  try {
    const { signIn } = await import('../sign-in.js');
    const user = await signIn(username, password, ask);
    await done(user);
  } catch (reason) {
    if (reason instanceof SignInRefused) error = { text: REFUSALS[reason.code] ?? reason.message };
    else error = { text: words.signIn.noAnswer(region().name), elsewhere: otherRegions([region()])[0] };
  }
  busy = false;
  asked = null;
  draw();
  if (error) document.querySelector('form input[name=password]')?.select();
}

const elsewhere = (next) => () => {
  useRegion(next);
  error = null;
  announce(words.regions.now(next.name));
  draw();
};

const refusal = () => (error ? html`<div class="inline fault" role="alert">${icon('alert')}<p>${error.text}</p></div>` : nothing);
const go = () => html`<button class="button primary wide" ?disabled=${busy}>${busy ? html`<span class="spinner"></span>${w.going}` : w.go}</button>`;

function question() {
  const said = w.asked[asked.challenge];
  const field = asked.challenge === 'NEW_PASSWORD_REQUIRED'
    ? html`<input name="answer" type="password" autocomplete="new-password" minlength="12" required aria-describedby="why" />`
    : html`<input name="answer" inputmode="numeric" autocomplete="one-time-code" pattern="[0-9]{6}" required aria-describedby="why" />`;
  return html`<form class="form" @submit=${answer}>
    <label>${said.label}${field}</label><p class="hint" id="why">${said.why}</p>${refusal()}${go()}
  </form>`;
}

function form(done, { username = '' } = {}) {
  if (asked) return question();
  const choose = (name) => (event) => {
    const { elements } = event.target.closest('form');
    elements.username.value = name;
    elements.password.value = demo.password;
    elements.username.form.requestSubmit();
  };
  return html`<form class="form" @submit=${(event) => submit(event, done)}>
    <label>${w.username}<input name="username" autocomplete="username" autocapitalize="none" spellcheck="false" required
      .value=${username} ?readonly=${username !== ''} /></label>
    <label>${w.password}<input name="password" type="password" autocomplete="current-password" required
      aria-describedby="secret" /></label>
    ${refusal()}
    ${go()}
    ${error?.elsewhere ? html`<button type="button" class="button secondary wide" @click=${elsewhere(error.elsewhere)}>${w.elsewhere(error.elsewhere.name)}</button>` : nothing}
    <p class="hint" id="secret">${w.secret}</p>
    ${demo && !username ? html`<div class="demo"><p>${w.demo}</p><div class="row">${demo.usernames.map((name) => html`
      <button type="button" class="button secondary small" ?disabled=${busy} @click=${choose(name)}>${name}</button>`)}</div></div>` : nothing}
  </form>`;
}

/** The page of somebody who is not signed in; `done(user)` once they are. */
export const signInPage = (done) => html`<div class="welcome">
  <section class="welcome-form">
    <h1 tabindex="-1">${words.signIn.title}</h1>
    ${state.failed ? fault(state.failed, () => location.reload()) : form(done)}
  </section>
  <section class="welcome-art" aria-label=${w.tagline}>
    <p class="display">${w.hello}</p>
    <p>${w.lead}</p>
    <img src="pages/welcome.svg" alt="" width="400" height="300" />
  </section>
</div>`;

/** The dialog over a page whose session ended; `close(user)` once they are signed in again. */
const signInDialog = (close) => html`<div class="sheet">
  <h2>${words.signIn.again}</h2><p>${w.expired}</p>
  ${form(close, { username: state.user?.username })}
  <button type="button" class="button plain wide" @click=${() => { asked = null; busy = false; close(); }}>${words.signIn.out}</button>
</div>`;

/** Ask for the password over the page; promises who it is, undefined where they would rather leave. */
export async function signInAgain() {
  const { openDialog } = await import('../dialogs.js');
  return openDialog(signInDialog, { label: words.signIn.again });
}

const HEALTH_MS = 25_000; // a first start takes seconds; one that is lost refuses sooner

/** Whether a Region says that it can serve, its database included. */
async function isHealthy(at) {
  try {
    return (await fetch(`${at.api}/health`, { signal: AbortSignal.timeout(HEALTH_MS) })).ok;
  } catch {
    return false;
  }
}

/** Nobody is signed in yet: where this Region cannot serve and another can, they sign in there. */
export async function startWhereItIsHealthy() {
  const here = region();
  if (regions.length < 2 || (await isHealthy(here))) return;
  for (const next of otherRegions([here])) {
    if (!(await isHealthy(next))) continue;
    if (state.user || region() !== here) return; // meanwhile somebody chose
    useRegion(next);
    state.notice = words.regions.lost(here.name, next.name);
    announce(state.notice);
    draw();
    return;
  }
}
