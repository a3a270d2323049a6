/** The words of what stands around every page. Numbers come in as text, formatted already. */
export const plural = (count, one, many) => `${count} ${count === '1' ? one : many}`;

export const words = {
  shop: 'Perks',
  skip: 'Skip to the content',
  points: 'points',
  more: 'Show more',
  again: 'Try again',
  close: 'Close',
  cancel: 'Cancel',
  toShop: 'Back to the shop',
  loading: 'Loading',
  nav: { label: 'Main', shop: 'Shop', cart: 'Cart', orders: 'Orders', account: 'Account', staff: 'Staff' },
  badge: (units) => plural(units, 'unit in the cart', 'units in the cart'),
  balance: (points) => `Balance: ${points} points`,
  regions: {
    label: 'Region',
    lost: (lost, next) => `${lost} does not answer. You are going on in ${next}; nothing is lost.`,
    now: (name) => `You are in ${name} now. Cart, orders and points are the same.`,
  },
  offline: 'You are offline. You can look around; whatever changes something waits for you.',
  online: 'You are online again.',
  forbidden: { title: 'Not for you', text: 'These pages are for the people who run the shop.' },
  notFound: { title: 'Nothing here', text: 'This page does not exist, or not any more.' },
  unfinished: 'An order is not finished. Load this page again, and it goes on.',
  missing: 'The shop is not set up: config.json cannot be read. Was it deployed?',
  signIn: {
    title: 'Sign in',
    noAnswer: (name) => `${name} does not answer. Check your connection and try again.`,
    again: 'Sign in again',
    out: 'Sign out',
    signedOut: 'You are signed out.',
  },
  fault: {
    offline: ['You are offline', 'Nothing was sent. Try again once you are online.'],
    noAnswer: ['No answer', 'The shop did not answer. Check your connection and try again.'],
    ours: ['This page made a mistake', 'Load it again. Nothing was ordered by that.'],
    instance: 'If it stays, tell us this number:',
    copy: 'Copy',
    copied: 'Copied.',
  },
};
