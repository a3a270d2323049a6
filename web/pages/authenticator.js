/** A second step at signing in: an authenticator app, which the shop's staff need for the staff's own. */
import { openDialog } from '../dialogs.js';
import { region } from '../regions.js';
import { SignInRefused, cognito, fresh, person } from '../session.js';
import { announce, draw, state } from '../store.js';
import { button, fault, html, nothing } from '../ui.js';
import { words } from '../words/frame.js';
import { words as own } from '../words/pages.js';

const w = own.authenticator;

/** Begin with an authenticator app: gives the secret that goes into it. */
async function newAuthenticator() {
  const { AccessToken } = await fresh(region());
  const { SecretCode } = await cognito(region(), 'AssociateSoftwareToken', { AccessToken });
  return { secret: SecretCode, access: AccessToken };
}

/** Have the app asked for at each sign-in from now on, in this Region; `code` proves that it works. */
async function useAuthenticator({ access }, code) {
  const at = region();
  const { Status } = await cognito(at, 'VerifySoftwareToken', { AccessToken: access, UserCode: code });
  if (Status !== 'SUCCESS') throw new SignInRefused('CodeMismatchException', '');
  await cognito(at, 'SetUserMFAPreference', {
    AccessToken: access, SoftwareTokenMfaSettings: { Enabled: true, PreferredMfa: true },
  });
  return person((await fresh(at)).IdToken);
}

function setUp() {
  let begun = null;
  let busy = true;
  let wrong = null;
  const attempt = async (act) => {
    busy = true;
    wrong = null;
    draw();
    try {
      await act();
    } catch (error) {
      wrong = error instanceof SignInRefused ? [w.wrong, ''] : error;
    }
    busy = false;
    draw();
  };
  const use = (event, close) => {
    event.preventDefault();
    const code = event.target.elements.code.value.trim();
    attempt(async () => {
      Object.assign(state.user, await useAuthenticator(begun, code));
      announce(w.done);
      close();
    });
  };
  openDialog((close) => html`<div class="sheet"><h2>${w.title}</h2><p>${w.how}</p>
    ${begun ? html`<p class="strong secret">${begun.secret.replace(/(.{4})/g, '$1 ')}</p>
      <form class="form" @submit=${(event) => use(event, close)}>
        <label>${w.code}<input name="code" inputmode="numeric" autocomplete="one-time-code" pattern="[0-9]{6}" required /></label>
        <button class="button primary wide" ?disabled=${busy}>${w.use}</button></form>` : nothing}
    ${wrong ? fault(wrong) : nothing}
    ${button({ label: words.cancel, kind: 'plain', wide: true, off: busy, act: () => close() })}</div>`,
  { label: w.title, dismissible: () => !busy });
  attempt(async () => { begun = await newAuthenticator(); });
}

export const authenticator = () => html`<section class="panel" aria-labelledby="second"><h2 id="second">${w.title}</h2>
  <p class="meta">${w.text}</p>${button({ label: w.begin, kind: 'secondary', act: setUp })}</section>`;
