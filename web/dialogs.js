/** Dialogs over the page, which are painted with it. */
import { render } from './vendor/lit-html/lit-html.js';
import { paintWith } from './store.js';

const dialogs = [];

paintWith(() => {
  for (const { element, view, close } of dialogs) render(view(close), element);
});

/**
 * Open a dialog over the page. `view(close)` is painted with the page; the promise gives what `close` was called with,
 * undefined where the person dismissed it. One that is not `dismissible` stays until `close`.
 */
export function openDialog(view, { label, dismissible = () => true } = {}) {
  const element = document.createElement('dialog');
  element.setAttribute('aria-label', label);
  document.body.append(element);
  return new Promise((done) => {
    let result;
    const close = (value) => {
      result = value;
      element.close();
    };
    element.addEventListener('cancel', (event) => {
      if (!dismissible()) event.preventDefault();
    });
    element.addEventListener('close', () => {
      dialogs.splice(dialogs.findIndex((one) => one.element === element), 1);
      element.remove();
      done(result);
    });
    dialogs.push({ element, view, close });
    render(view(close), element);
    element.showModal();
  });
}
