#version 450
layout(location = 0) out vec4 colour;

void main() {
  colour = vec4(255, 153, 51, 255) / 255;
}
