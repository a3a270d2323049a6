/** The Regions that the shop answers in, from config.json, and the one that this page talks to now. */
const CHOSEN = 'rewards.region';

/** Each: {name, api, sign_in, user_pool_id, client_id}. The first is the Region that served the page. */
export let regions = [];
/** Sample users whom the sign-in page offers, {usernames, password}; null where the shop is a real one. */
export let demo = null;

let current = 0;

/** Read config.json, which the deployment wrote. Throws where there is none. */
export async function loadConfig() {
  const answer = await fetch('config.json', { cache: 'no-cache' });
  if (!answer.ok) throw new Error(`config.json: ${answer.status}`);
  const config = await answer.json();
  regions = config.regions;
  demo = config.demo;
  const chosen = regions.findIndex((region) => region.name === sessionStorage.getItem(CHOSEN));
  current = Math.max(chosen, 0);
}

/** The Region in use. */
export const region = () => regions[current];

/** Use a Region from now on. */
export function useRegion(next) {
  current = regions.indexOf(next);
  sessionStorage.setItem(CHOSEN, next.name);
}

/** The Regions that are none of `tried`. */
export const otherRegions = (tried) => regions.filter((one) => !tried.includes(one));
