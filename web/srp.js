/**
 * Cognito's USER_SRP_AUTH: the password is proved, never sent. WebCrypto and BigInt, no library.
 * The group is RFC 5054's of 3072 bits (generator 2); the rest is as Cognito's own clients do it.
 */
const N = BigInt('0x' +
  'FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD' +
  'EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED' +
  'EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F' +
  '83655D23DCA3AD961C62F356208552BB9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3B' +
  'E39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF6955817183995497CEA956AE515D2261898FA0510' +
  '15728E5A8AAAC42DAD33170D04507A33A85521ABDF1CBA64ECFB850458DBEF0A8AEA71575D060C7DB3970F85A6E1E4C7' +
  'ABF5AE8CDB0933D71E8C94E04A25619DCEE3D2261AD2EE6BF12FFA06D98A0864D87602733EC86A64521F2B18177B200C' +
  'BBE117577A615D6C770988C0BAD946E208E24FA074E5AB3143DB5BFCE0FD108E4B82D120A93AD2CAFFFFFFFFFFFFFFFF');
const G = 2n;
const INFO = 'Caldera Derived Key';

const text = (value) => new TextEncoder().encode(value);
const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
const bytes = (digits) => Uint8Array.from(digits.match(/../g), (pair) => parseInt(pair, 16));
const join = (...parts) => Uint8Array.from(parts.flatMap((part) => [...part]));
const sha256 = async (content) => new Uint8Array(await crypto.subtle.digest('SHA-256', content));
const number = (content) => BigInt('0x' + hex(content));

/** A number as bytes, with a zero before a first byte that would read as a sign. */
function padded(value) {
  let digits = value.toString(16);
  if (digits.length % 2) digits = '0' + digits;
  return bytes(/^[89a-f]/.test(digits) ? '00' + digits : digits);
}

function power(base, exponent) {
  let result = 1n;
  for (base %= N; exponent; exponent >>= 1n) {
    if (exponent & 1n) result = (result * base) % N;
    base = (base * base) % N;
  }
  return result;
}

/** Let the page answer to the person between two long sums. */
const breath = () => new Promise((done) => setTimeout(done));

/** The time as Cognito wants it: "Thu Nov 26 9:05:01 UTC 2026", the day without a zero before it. */
function timestamp(now) {
  const [weekday, day, month, year, time] = now.toUTCString().replace(',', '').split(' ');
  return `${weekday} ${month} ${Number(day)} ${time} UTC ${year}`;
}

/**
 * Prove a password and give Cognito's answer: tokens, or what it asks next. `cognito(action, body)` calls its API and throws what it
 * refuses; `pool` is the user pool's id, `client` the app client's.
 */
export async function signInBySrp(cognito, { pool, client, username, password }) {
  const secret = number(crypto.getRandomValues(new Uint8Array(32)));
  const ours = power(G, secret);
  const challenge = (await cognito('InitiateAuth', {
    AuthFlow: 'USER_SRP_AUTH',
    ClientId: client,
    AuthParameters: { USERNAME: username, SRP_A: ours.toString(16) },
  })).ChallengeParameters;

  const theirs = BigInt('0x' + challenge.SRP_B);
  if (theirs % N === 0n) throw new Error('The sign-in service sent a value that would give the password away.');
  const identity = pool.split('_')[1] + challenge.USER_ID_FOR_SRP;
  const k = number(await sha256(join(padded(N), padded(G))));
  const u = number(await sha256(join(padded(ours), padded(theirs))));
  const inner = await sha256(text(`${identity}:${password}`));
  const x = number(await sha256(join(padded(BigInt('0x' + challenge.SALT)), inner)));
  await breath();
  const verifier = power(G, x);
  await breath();
  const shared = power((((theirs - k * verifier) % N) + N) % N, secret + u * x);

  const material = await crypto.subtle.importKey('raw', padded(shared), 'HKDF', false, ['deriveBits']);
  const derived = await crypto.subtle.deriveBits(
    { name: 'HKDF', hash: 'SHA-256', salt: padded(u), info: text(INFO) }, material, 128);
  const key = await crypto.subtle.importKey('raw', derived, { name: 'HMAC', hash: 'SHA-256' }, false, ['sign']);
  const time = timestamp(new Date());
  const block = Uint8Array.from(atob(challenge.SECRET_BLOCK), (one) => one.charCodeAt(0));
  const signed = await crypto.subtle.sign('HMAC', key, join(text(identity), block, text(time)));

  return cognito('RespondToAuthChallenge', {
    ChallengeName: 'PASSWORD_VERIFIER',
    ClientId: client,
    ChallengeResponses: {
      USERNAME: challenge.USER_ID_FOR_SRP,
      PASSWORD_CLAIM_SECRET_BLOCK: challenge.SECRET_BLOCK,
      PASSWORD_CLAIM_SIGNATURE: btoa(String.fromCharCode(...new Uint8Array(signed))),
      TIMESTAMP: time,
    },
  });
}
