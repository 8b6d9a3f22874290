// Before the first paint, so that the page does not flash in the other theme. A file of its own,
// since the content security policy allows no script inside the page.
try {
  const theme = localStorage.getItem("wsserver.theme");
  if (theme === '"light"' || theme === '"dark"') {
    document.documentElement.style.colorScheme = JSON.parse(theme);
  }
} catch {
  // Storage may be forbidden; the system's theme is right then.
}
