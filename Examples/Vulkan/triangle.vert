#version 450
// In pixels of an image of 64 by 64, whose centres are at halves: no edge goes through one.
const vec2 corners[] = {{8, 8}, {56.5, 8}, {8, 56.5}};

void main() {
  gl_Position = vec4(corners[gl_VertexIndex] / 32 - 1, 0, 1);
}
