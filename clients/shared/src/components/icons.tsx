/** Line icons, drawn in the colour of the text. */

import type { ComponentChildren } from "preact";

function Icon({ children, size = 18 }: { children: ComponentChildren; size?: number }) {
  return (
    <svg
      class="icon"
      width={size}
      height={size}
      viewBox="0 0 24 24"
      fill="none"
      stroke="currentColor"
      stroke-width="1.9"
      stroke-linecap="round"
      stroke-linejoin="round"
      aria-hidden="true"
    >
      {children}
    </svg>
  );
}

export const ArrowUp = () => <Icon><path d="M12 19V5M6 11l6-6 6 6" /></Icon>;
export const ArrowDown = () => <Icon size={16}><path d="M12 5v14M6 13l6 6 6-6" /></Icon>;
export const Check = () => <Icon size={16}><path d="m5 12.5 4.5 4.5L19 7.5" /></Icon>;
export const Chevron = () => <Icon size={15}><path d="m6 9 6 6 6-6" /></Icon>;
export const Close = () => <Icon><path d="M6 6l12 12M18 6 6 18" /></Icon>;
export const Copy = () => (
  <Icon size={16}><rect x="9" y="9" width="11" height="11" rx="2.5" /><path d="M5 15V6.5A2.5 2.5 0 0 1 7.5 4H15" /></Icon>
);
export const Edit = () => <Icon size={16}><path d="M4 20h4L19 9l-4-4L4 16zM13.5 6.5l4 4" /></Icon>;
export const Forward = () => <Icon size={16}><path d="M5 5l8 7-8 7zM19 5v14" /></Icon>;
export const Menu = () => <Icon><path d="M4 7h16M4 12h16M4 17h10" /></Icon>;
export const Moon = () => <Icon><path d="M20 14.5A8 8 0 0 1 9.5 4a8 8 0 1 0 10.5 10.5z" /></Icon>;
export const NewChat = () => <Icon><path d="M12 5v14M5 12h14" /></Icon>;
export const More = () => (
  <Icon size={16}><path d="M5 12h.01M12 12h.01M19 12h.01" stroke-width="3" /></Icon>
);
export const Leave = () => <Icon><path d="M14 4H6v16h8M11 12h9M16.5 8.5 20 12l-3.5 3.5" /></Icon>;
export const People = () => (
  <Icon><circle cx="9" cy="8" r="3.4" /><path d="M2.5 19.5a6.5 6.5 0 0 1 13 0M16 5.2a3.2 3.2 0 0 1 0 5.8M18.5 14.2a6.5 6.5 0 0 1 3 5.3" /></Icon>
);
export const Retry = () => <Icon size={16}><path d="M20 11a8 8 0 1 0-2 6M20 5v6h-6" /></Icon>;
export const Sliders = () => (
  <Icon><path d="M4 8h9M19 8h1M4 16h1M11 16h9" /><circle cx="16" cy="8" r="2.6" /><circle cx="8" cy="16" r="2.6" /></Icon>
);
export const Sun = () => (
  <Icon><circle cx="12" cy="12" r="4" /><path d="M12 2.5v2M12 19.5v2M2.5 12h2M19.5 12h2M5.3 5.3l1.4 1.4M17.3 17.3l1.4 1.4M18.7 5.3l-1.4 1.4M6.7 17.3l-1.4 1.4" /></Icon>
);
export const Trash = () => <Icon size={16}><path d="M5 7h14M10 7V4.5h4V7M7 7l.8 12.5h8.4L17 7" /></Icon>;
export const StopSquare = () => (
  <svg class="icon" width="14" height="14" viewBox="0 0 14 14" aria-hidden="true">
    <rect width="14" height="14" rx="3" fill="currentColor" />
  </svg>
);
export const Logo = ({ size = 26 }: { size?: number }) => (
  <svg width={size} height={size} viewBox="0 0 32 32" aria-hidden="true" class="logo">
    <rect width="32" height="32" rx="9" fill="var(--accent)" />
    <path
      d="M7 17.5c2.2 0 2.2-5 4.5-5s2.2 9 4.5 9 2.2-11 4.5-11 2.2 7 4.5 7"
      fill="none"
      stroke="var(--on-accent)"
      stroke-width="2.6"
      stroke-linecap="round"
      stroke-linejoin="round"
    />
  </svg>
);
