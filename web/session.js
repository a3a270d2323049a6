/**
 * Who is signed in. ID tokens are kept in memory, refresh tokens in sessionStorage: for this tab, until it closes.
 * Each Region has a user pool of its own, so a person is signed in to each with the one password.
 */
import { signInBySrp } from './srp.js';
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

async function cognito(at, action, body) {
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

function keep(at, result) {
  tokens.set(at.name, { id: result.IdToken, until: Date.now() + result.ExpiresIn * 1000 });
  if (result.RefreshToken) sessionStorage.setItem(STORED + at.name, result.RefreshToken);
  return person(result.IdToken);
}

function person(token) {
  const said = claims(token);
  return { username: said['cognito:username'], groups: said['cognito:groups'] ?? [] };
}

/** What Cognito may ask for beside the password, and what it calls the answer. */
const ASKED = { NEW_PASSWORD_REQUIRED: 'NEW_PASSWORD', SOFTWARE_TOKEN_MFA: 'SOFTWARE_TOKEN_MFA_CODE' };
/** Answers that are refused and may be given once more. */
const AGAIN = new Set(['InvalidPasswordException', 'CodeMismatchException', 'ExpiredCodeException']);

/** Answer what Cognito asks until it gives tokens. `ask(challenge, refused)` promises what the person says. */
async function answered(at, username, reply, ask) {
  let refused;
  while (!reply.AuthenticationResult) {
    const { ChallengeName: challenge, Session, ChallengeParameters: given = {} } = reply;
    if (!ASKED[challenge]) throw new SignInRefused(challenge, '');
    const said = await ask(challenge, refused);
    try {
      reply = await cognito(at, 'RespondToAuthChallenge', {
        ChallengeName: challenge,
        ClientId: at.client_id,
        Session,
        ChallengeResponses: { USERNAME: given.USER_ID_FOR_SRP ?? username, [ASKED[challenge]]: said },
      });
      refused = undefined;
    } catch (error) {
      if (!AGAIN.has(error.code)) throw error;
      refused = error;
    }
  }
  return reply.AuthenticationResult;
}

/**
 * Sign in to the Region in use, and, without waiting for them, to the others. Gives who it is. `ask(challenge,
 * refused)` promises the new password or the code that somebody is asked for.
 */
export async function signIn(typed, password, ask) {
  // As the pool has it: without case, and composed whatever keyboard it was typed on.
  const username = typed.trim().normalize('NFKC').toLowerCase();
  const into = async (at, answer) => {
    const reply = await signInBySrp((action, body) => cognito(at, action, body), {
      pool: at.user_pool_id, client: at.client_id, username, password,
    });
    return keep(at, await answered(at, username, reply, answer));
  };
  const here = region();
  const user = await into(here, ask);
  for (const at of regions) {
    // One that does not answer now, or asks for more, asks for the password when it is needed.
    if (at !== here) into(at, () => Promise.reject(new SignedOut())).catch(() => {});
  }
  return user;
}

/** Begin with an authenticator app: gives the secret that goes into it. */
export async function newAuthenticator() {
  const { AccessToken } = await fresh(region());
  const { SecretCode } = await cognito(region(), 'AssociateSoftwareToken', { AccessToken });
  return { secret: SecretCode, access: AccessToken };
}

/** Have the app asked for at each sign-in from now on, in this Region; `code` proves that it works. */
export async function useAuthenticator({ access }, code) {
  const at = region();
  const { Status } = await cognito(at, 'VerifySoftwareToken', { AccessToken: access, UserCode: code });
  if (Status !== 'SUCCESS') throw new SignInRefused('CodeMismatchException', '');
  await cognito(at, 'SetUserMFAPreference', {
    AccessToken: access, SoftwareTokenMfaSettings: { Enabled: true, PreferredMfa: true },
  });
  return person((await fresh(at)).IdToken);
}

/** Take up the session that this tab had before it was loaded again; null where there is none. */
export async function resume() {
  if (!sessionStorage.getItem(STORED + region().name)) return null;
  return person(await token(region()));
}

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
async function fresh(at) {
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
