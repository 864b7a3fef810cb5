// The application shares the tests' packages, one folder up; nothing above that is its business.
export default {
  turbopack: { root: `${import.meta.dirname}/..` },
  poweredByHeader: false,
};
