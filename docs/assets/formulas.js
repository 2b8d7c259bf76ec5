// Every formula of a page, also after the theme has changed it without a reload.
document$.subscribe(({ body }) => renderMathInElement(body, {
  delimiters: [
    { left: "\\[", right: "\\]", display: true },
    { left: "\\(", right: "\\)", display: false },
  ],
  throwOnError: true,
  errorCallback: (message, error) => console.error(message, error),
}));
