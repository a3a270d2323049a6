/** The words of signing in. */
export const words = {
  tagline: 'The rewards shop',
  hello: 'Good things, earned.',
  lead: 'Spend the points that you have collected. An order happens once: not twice, not half, not never.',
  username: 'Username',
  password: 'Password',
  go: 'Sign in',
  going: 'Signing in',
  wrong: 'That username and password do not fit. Check both, and mind capital letters.',
  reset: 'Your password has to be set anew. Ask whoever runs the shop.',
  asked: {
    NEW_PASSWORD_REQUIRED: {
      label: 'A password of your own',
      why: 'At least 12 characters, with a small letter, a capital letter and a digit. From now on it is the one that signs you in.',
      wrong: 'That password will not do. Take 12 characters or more, with a small letter, a capital letter and a digit.',
    },
    SOFTWARE_TOKEN_MFA: {
      label: 'Code',
      why: 'The six digits that your authenticator app shows for this shop.',
      wrong: 'That is not the code. Wait for the next one and try again.',
    },
  },
  limit: 'Too many tries. Wait a few minutes, then try again.',
  elsewhere: (name) => `Try ${name}`,
  demo: 'This shop is a sample. Choose who to be:',
  expired: 'Your session has ended. Sign in, and what you were doing goes on.',
  secret: 'Your password is proved to the sign-in service and never leaves this page.',
};
