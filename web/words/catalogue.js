/** The words of the catalogue. */
import { plural } from './frame.js';

export const words = {
  title: 'Shop',
  hello: (name) => `Hello, ${name}`,
  spend: 'to spend as you like',
  search: 'Search the shop',
  searchGo: 'Search',
  all: 'Everything',
  categories: 'Categories',
  sort: 'Sort by',
  sorts: { name: 'Name', points: 'Fewest points', '-points': 'Most points', '-rating': 'Best rated' },
  left: (units) => `Only ${units} left`,
  soldOut: 'Sold out',
  add: 'Add',
  addLabel: (name) => `Add ${name} to the cart`,
  added: (name, units) => `${name} is in the cart. ${plural(units, 'unit', 'units')} in all.`,
  none: 'Nothing found',
  noneText: 'No item fits. Try another word, or look at everything.',
  clear: 'Show everything',
  shown: (count) => plural(count, 'item', 'items'),
  shownMore: (count) => `${count} items, and there are more`,
  rated: (rating) => `Rated ${rating} of 5`,
};
