/** Signing in with a password, and with what Cognito asks for beside it. */
import { region, regions } from './regions.js';
import { SignInRefused, SignedOut, cognito, keep } from './session.js';
import { signInBySrp } from './srp.js';

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
