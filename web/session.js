/**
 * Who is signed in. ID tokens are kept in memory, refresh tokens in sessionStorage: for this tab, until it closes.
 * Each Region has a user pool of its own, so a person is signed in to each with the one password.
 */
import { region, regions } from './regions.js';

const STORED = 'rewards.refresh.';
const SPARE_MS = 60_000; // a token that ends sooner is renewed before it is used

/** The session is over, or there is none: somebody has to sign in. */
export class SignedOut extends Error {}
/** The sign-in service refused; `code` is its own word. */
export class SignInRefused extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

const tokens = new Map(); // Region's name -> {id, until}
const renewing = new Map(); // Region's name -> the promise that all who need a token wait for

/** Call the sign-in service of a Region, and give what it says. Throws SignInRefused. */
export async function cognito(at, action, body) {
  const answer = await fetch(at.sign_in, {
    method: 'POST',
    headers: { 'Content-Type': 'application/x-amz-json-1.1', 'X-Amz-Target': `AWSCognitoIdentityProviderService.${action}` },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(15_000),
  });
  const said = await answer.text();
  const content = said ? JSON.parse(said) : {};
  if (!answer.ok) throw new SignInRefused((content.__type ?? '').split('#').at(-1), content.message ?? '');
  return content;
}

function claims(token) {
  const text = atob(token.split('.')[1].replaceAll('-', '+').replaceAll('_', '/'));
  return JSON.parse(new TextDecoder().decode(Uint8Array.from(text, (one) => one.charCodeAt(0))));
}

/** Keep what a sign-in gave, and give who it is. */
export function keep(at, result) {
  tokens.set(at.name, { id: result.IdToken, until: Date.now() + result.ExpiresIn * 1000 });
  if (result.RefreshToken) sessionStorage.setItem(STORED + at.name, result.RefreshToken);
  return person(result.IdToken);
}

/** Who an ID token is of. */
export function person(token) {
  const said = claims(token);
  return { username: said['cognito:username'], groups: said['cognito:groups'] ?? [] };
}

/** Whether this tab had a session before it was loaded again. */
export const isKept = () => sessionStorage.getItem(STORED + region().name) !== null;

/** Take that session up; null where there is none. */
export const resume = async () => (isKept() ? person(await token(region())) : null);

/** A valid ID token of a Region. Throws SignedOut where only a password can give one. */
export async function token(at, { renewed = false } = {}) {
  const kept = tokens.get(at.name);
  if (kept && !renewed && kept.until > Date.now() + SPARE_MS) return kept.id;
  if (!renewing.has(at.name)) {
    renewing.set(at.name, renew(at).finally(() => renewing.delete(at.name)));
  }
  return renewing.get(at.name);
}

async function renew(at) {
  await fresh(at);
  return tokens.get(at.name).id;
}

/** New tokens of a Region; the ID token is kept. Throws SignedOut where only a password can give some. */
export async function fresh(at) {
  const refresh = sessionStorage.getItem(STORED + at.name);
  if (!refresh) throw new SignedOut();
  try {
    const { AuthenticationResult: result } = await cognito(at, 'InitiateAuth', {
      AuthFlow: 'REFRESH_TOKEN_AUTH', ClientId: at.client_id, AuthParameters: { REFRESH_TOKEN: refresh },
    });
    keep(at, result);
    return result;
  } catch (error) {
    if (!(error instanceof SignInRefused)) throw error;
    forget(at);
    throw new SignedOut();
  }
}

function forget(at) {
  tokens.delete(at.name);
  sessionStorage.removeItem(STORED + at.name);
}

/** Sign out everywhere; what was kept is gone even where a Region does not answer. */
export function signOut() {
  for (const at of regions) {
    const refresh = sessionStorage.getItem(STORED + at.name);
    if (refresh) cognito(at, 'RevokeToken', { ClientId: at.client_id, Token: refresh }).catch(() => {});
    forget(at);
  }
}
