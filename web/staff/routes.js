/** The staff's pages by address: what loads each. */
export const ROUTES = [
  [/^\/staff\/operations$/, () => import('./operations.js')],
  [/^\/staff\/orders(?:\/([0-9a-f-]{36}))?$/, () => import('./story.js')],
  [/^\/staff\/items$/, () => import('./items.js')],
  [/^\/staff\/items\/(new|[0-9a-f-]{36})$/, () => import('./item.js')],
  [/^\/staff\/customers(?:\/([0-9a-f-]{36}))?$/, () => import('./customers.js')],
];
