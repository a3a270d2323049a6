/** What can go wrong with a request. */
/** No answer came: whether the request was carried out is not known. */
export class NoAnswer extends Error {}
/** This device is offline; nothing was sent. */
export class Offline extends Error {}

/** The API refused; `kind` is the end of the problem's type. */
export class Problem extends Error {
  constructor(status, document) {
    super(document.detail ?? '');
    this.status = status;
    this.kind = (document.type ?? '').split(':').at(-1);
    this.title = document.title ?? '';
    this.instance = document.instance ?? '';
    this.errors = document.errors ?? [];
  }

  /** Whether the same request may be accepted later, under the same key. */
  get passes() {
    return this.status === 429 || this.status >= 500;
  }
}

/** What is said of each kind of problem (problems.js): loaded with the first one. */
export let problems = {};

async function learnProblems() {
  problems = await import('./words/problems.js').then((module) => module.problems, () => problems);
}

/** The problem that an answer tells of, once there are words for it. */
export async function problemOf(answer) {
  const [document] = await Promise.all([answer.json().catch(() => ({})), learnProblems()]);
  return new Problem(answer.status, document);
}
