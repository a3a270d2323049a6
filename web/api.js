/**
 * Requests to the shop's API. A request goes out with a fresh token; it is sent again, under its own
 * Idempotency-Key, where the answer says to wait, and goes to the other Region where this one does not answer.
 */
import { NoAnswer, Offline, problemOf } from './faults.js';
import { otherRegions, region, useRegion } from './regions.js';
import { SignedOut, token } from './session.js';
import { announce, draw, state } from './store.js';
import { words } from './words/frame.js';

const TIMEOUT_MS = 29_000; // the gateway gives up sooner
const ATTEMPTS = 5; // of a request that is told to wait
const LONGEST_WAIT_S = 60;

let askToSignIn = () => Promise.reject(new SignedOut());

/** Say how a person is asked to sign in again in the middle of something; it resolves once they have. */
export function signInWith(ask) {
  askToSignIn = ask;
}

/**
 * Send a request and give {body, headers, status}. `key` is its Idempotency-Key, `match` its If-Match, `waiting(seconds)` is
 * told of each wait. Throws Problem, NoAnswer, Offline, SignedOut.
 */
export async function request(method, path, { body, key, match, waiting } = {}) {
  const tried = [];
  let renewed = false;
  for (let attempt = 1; ; attempt += 1) {
    if (!navigator.onLine) throw new Offline();
    const at = region();
    let answer;
    try {
      answer = await send(at, method, path, { body, key, match, renewed });
      // One that breaks off in the middle is none.
      if (answer.ok) return { status: answer.status, headers: answer.headers, body: await bodyOf(answer) };
    } catch (error) {
      if (error instanceof SignedOut) {
        await askToSignIn();
        continue;
      }
      if (!navigator.onLine) throw key ? new NoAnswer() : new Offline();
      tried.push(at);
      if (!failOver(tried)) throw new NoAnswer();
      continue;
    }
    const problem = await problemOf(answer);
    if (answer.status === 401 && !renewed) {
      renewed = true;
      continue;
    }
    if (answer.status === 401) {
      await askToSignIn();
      renewed = false;
      continue;
    }
    const pause = Number(answer.headers.get('Retry-After'));
    if (!problem.passes || answer.status === 500 || !pause || pause > LONGEST_WAIT_S) throw problem;
    if (attempt >= ATTEMPTS) {
      tried.push(at);
      if (answer.status > 500 && failOver(tried)) continue;
      throw problem;
    }
    await wait(pause, waiting);
  }
}

async function send(at, method, path, { body, key, match, renewed }) {
  const headers = { Authorization: await token(at, { renewed }) };
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  if (key) headers['Idempotency-Key'] = key;
  if (match) headers['If-Match'] = match;
  return fetch(at.api + path, {
    method, headers, body: body === undefined ? undefined : JSON.stringify(body), signal: AbortSignal.timeout(TIMEOUT_MS),
  });
}

async function bodyOf(answer) {
  const text = await answer.text();
  return text ? JSON.parse(text) : null;
}

/** Go on in a Region that was not tried yet; false where there is none. */
function failOver(tried) {
  const [next] = otherRegions(tried);
  if (!next) {
    if (tried.length > 1) useRegion(tried[0]);
    return false;
  }
  useRegion(next);
  state.notice = words.regions.lost(tried.at(-1).name, next.name);
  announce(state.notice);
  draw();
  return true;
}

async function wait(seconds, waiting) {
  for (let left = Math.ceil(seconds); left > 0; left -= 1) {
    waiting?.(left);
    await new Promise((done) => setTimeout(done, 1000));
  }
  waiting?.(0);
}

/** GET, and give the answer's body. `query` is an object; what is empty in it is left out. */
export async function get(path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== '');
  const text = new URLSearchParams(given).toString();
  return (await request('GET', text ? `${path}?${text}` : path)).body;
}

/** A key that is new for each new request. */
export const newKey = () => crypto.randomUUID();
